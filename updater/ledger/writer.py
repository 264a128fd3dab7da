"""Writing to the ledger: every method is one transaction, and safe to repeat."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from updater.errors import ConfigError, WindowOrderError
from updater.ledger.engine import create_ledger_engine, writing
from updater.ledger.moves import may_follow, refusal
from updater.ledger.reader import LedgerReader
from updater.ledger.records import BucketRecord, Head, ModelRecord, PartitionRecord, WindowRecord
from updater.ledger.revisions import check_revision
from updater.ledger.tables import AUDIT, BUCKETS, HEADS, LIVE_MODEL, MODELS, PARTITIONS, SETTINGS, WINDOWS


def open_writer(url: str) -> "LedgerWriter":
    """The ledger at `url`, to write to.

    Raises:
        ConfigError: the ledger is not initialised, not migrated, or written by a newer release.
        ServiceUnavailableError: the database does not answer.
    """
    engine = create_ledger_engine(url)
    check_revision(engine)
    return LedgerWriter(engine)


class LedgerWriter(LedgerReader):
    """What has been done, and doing it. Every method may raise ServiceUnavailableError."""

    def record_partition(self, partition: PartitionRecord) -> None:
        """Record a processed partition, in the place of an earlier record of the same modality and day."""
        with writing(self._engine) as connection:
            _upsert(connection, PARTITIONS, asdict(partition))

    def open_window(self, ds: date, as_of: datetime, now: datetime) -> WindowRecord:
        """The window of `ds`, opened `now` unless an earlier attempt opened it.

        Returns:
            The stored record; `opened_at` is the first attempt's clock for every later one.
        """
        window = WindowRecord(ds=ds, as_of=as_of, opened_at=now, completed_at=None, counts={})
        with writing(self._engine) as connection:
            _insert_if_absent(connection, WINDOWS, asdict(window))
            return _window(connection, ds) or window

    def move_head(self, previous: Head | None, new: Head, record: BucketRecord) -> bool:
        """Move a bucket's head from `previous` to `new` by compare-and-swap, and add `record` to its history.

        Within a generation a head moves to the next day only. A higher generation, which is a restatement, may also
        begin at the same or an earlier day.

        Args:
            previous: The head that `new` was computed from; None if the bucket had none.
            new: The head to publish.
            record: The history row of `new`.

        Returns:
            True if the head moved. False if it already held the day and digest of `new`: the same work, done twice.

        Raises:
            HeadConflictError: the head holds the day of `new`, or that of `previous`, with another digest.
            WindowOrderError: the head is at another day than `previous`, or `new` would leave a gap or go back.
            ValueError: `record` describes another bucket, day, generation or digest than `new`.
        """
        if any(getattr(record, name) != getattr(new, name) for name in ("bucket", "ds", "generation", "digest")):
            raise ValueError(f"The history record of bucket {record.bucket} does not describe the head to publish.")
        with writing(self._engine) as connection:
            if may_follow(previous, new) and _swap_head(connection, previous, new):
                connection.execute(insert(BUCKETS).values(asdict(record)))
                return True
            row = connection.execute(select(HEADS).where(HEADS.c.bucket == new.bucket)).mappings().first()
        head = Head(**row) if row else None
        if head is not None and (head.ds, head.digest) == (new.ds, new.digest):
            return False
        raise refusal(head, previous, new)

    def complete_window(self, ds: date, counts: dict[str, Any], now: datetime) -> WindowRecord:
        """Complete the window of `ds`; of several calls the first one's clock and counts stay.

        Raises:
            WindowOrderError: the window was never opened.
        """
        pending = and_(WINDOWS.c.ds == ds, WINDOWS.c.completed_at.is_(None))
        with writing(self._engine) as connection:
            connection.execute(update(WINDOWS).where(pending).values(completed_at=now, counts=counts))
            window = _window(connection, ds)
        if window is None:
            raise WindowOrderError(f"The window {ds} was never opened; run `updater run --ds {ds}`.")
        return window

    def add_model(self, model: ModelRecord) -> None:
        """Add a model version, and make it the live one if it says so; an identical version is left as it is.

        Raises:
            ConfigError: the version exists with another digest.
        """
        values = asdict(model)
        live = values.pop("live")
        with writing(self._engine) as connection:
            if _insert_if_absent(connection, MODELS, values):
                if live:
                    _upsert(connection, LIVE_MODEL, {"id": 1, "version": model.version})
                return
            stored: str = connection.scalars(select(MODELS.c.digest).where(MODELS.c.version == model.version)).one()
        if stored != model.digest:
            raise ConfigError(
                f"Model version {model.version} exists with other weights (digest {stored[:12]}, "
                f"not {model.digest[:12]}); give the new model the next version."
            )

    def set_live_model(self, version: int) -> None:
        """Make `version` the live model in the place of the one before. Raises ConfigError if it does not exist."""
        with writing(self._engine) as connection:
            known = connection.scalars(select(MODELS.c.version).order_by(MODELS.c.version)).all()
            if version not in known:
                raise ConfigError(
                    f"There is no model version {version}; known: {', '.join(map(str, known)) or 'none'}."
                )
            _upsert(connection, LIVE_MODEL, {"id": 1, "version": version})

    def fix_setting(self, key: str, value: str) -> str:
        """Fix `key` at `value` unless it is fixed already. Returns the stored value, for the caller to compare."""
        with writing(self._engine) as connection:
            _insert_if_absent(connection, SETTINGS, {"key": key, "value": value})
            stored: str = connection.scalars(select(SETTINGS.c.value).where(SETTINGS.c.key == key)).one()
        return stored

    def record_audit(self, action: str, subject: dict[str, Any], actor: str, now: datetime) -> None:
        """Append to the audit: `actor` did `action` to `subject`."""
        values = {"at": now, "actor": actor, "action": action, "subject": subject}
        with writing(self._engine) as connection:
            connection.execute(insert(AUDIT).values(values))


def _swap_head(connection: Connection, previous: Head | None, new: Head) -> bool:
    if previous is None:
        return _insert_if_absent(connection, HEADS, asdict(new))
    unmoved = and_(
        HEADS.c.bucket == new.bucket,
        HEADS.c.ds == previous.ds,
        HEADS.c.digest == previous.digest,
        HEADS.c.generation == previous.generation,
    )
    return connection.execute(update(HEADS).where(unmoved).values(asdict(new))).rowcount == 1


def _window(connection: Connection, ds: date) -> WindowRecord | None:
    row = connection.execute(select(WINDOWS).where(WINDOWS.c.ds == ds)).mappings().first()
    return WindowRecord(**row) if row else None


def _insert_if_absent(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """True if the row was inserted. A concurrent insert of the same key is waited for."""
    statement = _insert(connection, table).values(values).on_conflict_do_nothing(index_elements=table.primary_key)
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def _upsert(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    statement = _insert(connection, table).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=table.primary_key, set_=values))


# SQLAlchemy has no portable insert that meets an existing key, but both dialects have the same one.
def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
