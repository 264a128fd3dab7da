"""Looking at the ledger."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from datetime import date, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select, func, select

from updater.domain.erasure import Erased
from updater.ledger.engine import create_ledger_engine, is_sqlite
from updater.ledger.locks import advisory_lock
from updater.ledger.records import (
    AuditRecord,
    BucketRecord,
    Head,
    ModelRecord,
    PartitionRecord,
    Published,
    RetiredFile,
    WindowRecord,
)
from updater.ledger.revisions import check_revision
from updater.ledger.statements import present_names
from updater.ledger.tables import (
    AUDIT,
    BUCKETS,
    ERASED,
    HEADS,
    LIVE_MODEL,
    MODELS,
    PARTITIONS,
    REACH,
    RESTATEMENT,
    RETIRED,
    SETTINGS,
    WINDOWS,
)

Record = TypeVar("Record")
Query = Select[*tuple[Any, ...]]

ERASURE_SALT = "erasure.salt"
MODEL_COLUMNS = (*MODELS.c, LIVE_MODEL.c.version.is_not(None).label("live"))
PARTITION_COLUMNS = tuple(column.label(column.key) for column in PARTITIONS.c)


def open_reader(url: str) -> "LedgerReader":
    """The ledger at `url`, to look at: the database itself refuses to be written to.

    Raises:
        ConfigError: the ledger is not initialized, not migrated, or written by a newer release.
        ServiceUnavailableError: the database does not answer.
    """
    engine = create_ledger_engine(url, read_only=True)
    check_revision(engine)
    return LedgerReader(engine)


class LedgerReader:
    """What has been done. It can only look; every method may raise ServiceUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def file(self) -> str | None:
        """The SQLite file that it is in; None on a server."""
        url = self._engine.url
        return str(url.database) if is_sqlite(url) else None

    def lock(self, key: int, *, shared: bool) -> AbstractContextManager[None]:
        """See `advisory_lock`; only a server has them."""
        return advisory_lock(self._engine, key, shared=shared)

    def head(self, bucket: int) -> Head | None:
        """What was last published for `bucket`; None if nothing was."""
        return self._first(Head, select(HEADS).where(HEADS.c.bucket == bucket))

    def heads(self) -> dict[int, Head]:
        """All heads by bucket, as of one instant."""
        return {head.bucket: head for head in self._all(Head, select(HEADS).order_by(HEADS.c.bucket))}

    def newest_head(self) -> date | None:
        """The newest day of any head; None if nothing was published."""
        return self._day(select(func.max(HEADS.c.ds)))

    def bucket_record(self, bucket: int, ds: date) -> BucketRecord | None:
        """What `bucket` published for `ds`, in its newest generation."""
        query = select(BUCKETS).where(BUCKETS.c.bucket == bucket, BUCKETS.c.ds == ds)
        return self._first(BucketRecord, query.order_by(BUCKETS.c.generation.desc()))

    def bucket_records(self, ds: date, buckets: Collection[int] | None = None) -> list[BucketRecord]:
        """What `buckets` published for `ds`, or all of them, each in its newest generation, ordered by bucket."""
        query = select(BUCKETS).where(BUCKETS.c.ds == ds).order_by(BUCKETS.c.bucket, BUCKETS.c.generation)
        if buckets is not None:
            query = query.where(BUCKETS.c.bucket.in_(buckets))
        return list({record.bucket: record for record in self._all(BucketRecord, query)}.values())

    def bucket_history(self, bucket: int) -> list[BucketRecord]:
        """All that `bucket` ever published, in every generation, oldest first."""
        # By way of the windows each of its rows is found by the key, which begins with the day; else all are read.
        query = select(BUCKETS).join_from(WINDOWS, BUCKETS, WINDOWS.c.ds == BUCKETS.c.ds)
        query = query.where(BUCKETS.c.bucket == bucket)
        return self._all(BucketRecord, query.order_by(BUCKETS.c.ds, BUCKETS.c.generation))

    def partition(self, modality: str, ds: date) -> PartitionRecord | None:
        """The processed partition of `modality` that landed on `ds`."""
        query = select(*PARTITION_COLUMNS).where(PARTITIONS.c.modality == modality, PARTITIONS.c.ds == ds)
        return self._first(PartitionRecord, query)

    def partitions(
        self, modality: str | None = None, from_date: date | None = None, to_date: date | None = None
    ) -> list[PartitionRecord]:
        """Processed partitions, ordered by day and modality; both dates are inclusive, None means all."""
        query = select(*PARTITION_COLUMNS).order_by(PARTITIONS.c.ds, PARTITIONS.c.modality)
        if modality is not None:
            query = query.where(PARTITIONS.c.modality == modality)
        if from_date is not None:
            query = query.where(PARTITIONS.c.ds >= from_date)
        if to_date is not None:
            query = query.where(PARTITIONS.c.ds <= to_date)
        return self._all(PartitionRecord, query)

    def window(self, ds: date) -> WindowRecord | None:
        """The window of landing day `ds`; None if it was never attempted."""
        return self._first(WindowRecord, select(WINDOWS).where(WINDOWS.c.ds == ds))

    def windows(self, last: int | None = None) -> list[WindowRecord]:
        """The newest `last` windows, or all, newest first."""
        return self._all(WindowRecord, select(WINDOWS).order_by(WINDOWS.c.ds.desc()).limit(last))

    def completed_windows(self, last: int | None = None) -> list[WindowRecord]:
        """The newest `last` windows that are committed, or all, newest first."""
        query = select(WINDOWS).where(WINDOWS.c.completed_at.is_not(None))
        return self._all(WindowRecord, query.order_by(WINDOWS.c.ds.desc()).limit(last))

    def unfinished_windows(self) -> list[date]:
        """Landing days whose window was begun and is not committed, oldest first."""
        query = select(WINDOWS.c.ds).where(WINDOWS.c.completed_at.is_(None)).order_by(WINDOWS.c.ds)
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def first_window(self) -> date | None:
        """Landing day of the oldest window that was ever attempted; None if none was."""
        return self._day(select(func.min(WINDOWS.c.ds)))

    def watermark(self) -> date | None:
        """Landing day of the newest completed window; None if there is none."""
        with self._engine.connect() as connection:
            return _watermark(connection)

    def models(self) -> list[ModelRecord]:
        """All model versions, oldest first."""
        query = select(*MODEL_COLUMNS).join_from(MODELS, LIVE_MODEL, isouter=True)
        return self._all(ModelRecord, query.order_by(MODELS.c.version))

    def live_model(self) -> ModelRecord | None:
        """The model version whose embeddings are served; None before the first."""
        return self._first(ModelRecord, select(*MODEL_COLUMNS).join_from(MODELS, LIVE_MODEL))

    def published(self) -> Published:
        """Live version, watermark, heads and erased users, read together."""
        with self._engine.connect() as connection:
            return read_published(connection)

    def setting(self, key: str) -> str | None:
        """A fact that was fixed when state was made, e.g. `num_buckets`; None if it was not."""
        with self._engine.connect() as connection:
            value: str | None = connection.scalar(select(SETTINGS.c.value).where(SETTINGS.c.key == key))
        return value

    def settings(self) -> dict[str, str]:
        """All facts that were fixed when state was made."""
        with self._engine.connect() as connection:
            return {key: value for key, value in connection.execute(select(SETTINGS.c.key, SETTINGS.c.value))}

    def earliest_recomputable(self) -> date | None:
        """Earliest day whose window can be computed again, since older days were dropped; None if none was."""
        return self._day(select(REACH.c.ds))

    def retired(self) -> dict[str, RetiredFile]:
        """Files that nobody reads any more and that maintenance has not removed yet, by path below the state's root."""
        return {file.path: file for file in self._all(RetiredFile, select(RETIRED).order_by(RETIRED.c.path))}

    def restatement(self) -> datetime | None:
        """When the restatement began that is under way; None if there is none."""
        with self._engine.connect() as connection:
            began: datetime | None = connection.scalar(select(RESTATEMENT.c.began))
        return began

    def erased(self) -> Erased:
        """The users whose rows must not come back."""
        with self._engine.connect() as connection:
            if not (hashes := frozenset(connection.scalars(select(ERASED.c.hash)))):
                return Erased()
            salt = connection.scalar(select(SETTINGS.c.value).where(SETTINGS.c.key == ERASURE_SALT))
        return Erased(salt or "", hashes)

    def unfinished_erasures(self) -> int:
        """Users whose erasure was recorded but is not finished."""
        with self._engine.connect() as connection:
            count: int = connection.scalars(select(func.count()).where(ERASED.c.erased_at.is_(None))).one()
        return count

    def completed_erasures(self) -> int:
        """Users whose erasure is finished."""
        with self._engine.connect() as connection:
            count: int = connection.scalars(select(func.count()).where(ERASED.c.erased_at.is_not(None))).one()
        return count

    def audit(self, last: int | None = None) -> list[AuditRecord]:
        """The newest `last` audit records, or all, newest first."""
        return self._all(AuditRecord, select(AUDIT).order_by(AUDIT.c.id.desc()).limit(last))

    def _day(self, query: Query) -> date | None:
        with self._engine.connect() as connection:
            day: date | None = connection.scalar(query)
        return day

    def _first(self, record: type[Record], query: Query) -> Record | None:
        return next(iter(self._all(record, query.limit(1))), None)

    def _all(self, record: type[Record], query: Query) -> list[Record]:
        with self._engine.connect() as connection:
            return [record(**present_names(row)) for row in connection.execute(query).mappings()]


def read_published(connection: Connection) -> Published:
    """What `LedgerReader.published` returns, within a transaction."""
    return Published(
        live=connection.scalar(select(LIVE_MODEL.c.version)),
        watermark=_watermark(connection),
        heads={row["bucket"]: Head(**row) for row in connection.execute(select(HEADS)).mappings()},
        num_erased=connection.scalars(select(func.count()).select_from(ERASED)).one(),
        num_promotions=connection.scalar(select(LIVE_MODEL.c.num_promotions)) or 0,
    )


def _watermark(connection: Connection) -> date | None:
    newest: date | None = connection.scalar(select(func.max(WINDOWS.c.ds)).where(WINDOWS.c.completed_at.is_not(None)))
    return newest
