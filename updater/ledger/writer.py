"""Writing to the ledger: every method is one transaction, and safe to repeat."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from sqlalchemy import and_, delete, insert, select, update

from updater.domain.erasure import HASH_BYTES, Erased, erasure_hash
from updater.errors import ConcurrentUpdateError, ConfigError, NotFoundError, WindowOrderError
from updater.ledger.engine import create_ledger_engine, writing
from updater.ledger.head_transitions import conflict_error, is_successor
from updater.ledger.reader import ERASURE_SALT, LedgerReader, read_published
from updater.ledger.records import (
    BucketRecord,
    Head,
    ModelRecord,
    PartitionRecord,
    Published,
    RetiredFile,
    WindowRecord,
)
from updater.ledger.revisions import check_revision
from updater.ledger.statements import (
    check_erasures,
    check_live,
    insert_if_absent,
    lock_erasures,
    read_window,
    swap_head,
    upsert,
)
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


def open_writer(url: str) -> "LedgerWriter":
    """The ledger at `url`, to write to.

    Raises:
        ConfigError: the ledger is not initialized, not migrated, or written by a newer release.
        ServiceUnavailableError: the database does not answer.
    """
    engine = create_ledger_engine(url)
    check_revision(engine)
    return LedgerWriter(engine)


class LedgerWriter(LedgerReader):
    """What has been done, and doing it. Every method may raise ServiceUnavailableError."""

    def record_partition(self, partition: PartitionRecord, erased: int | None = None) -> None:
        """Record a processed partition, in the place of an earlier record of the same modality and day.

        Args:
            partition: The record.
            erased: How many erased users were known when the partition was read; None if that does not matter.

        Raises:
            ConcurrentUpdateError: users were erased since, so their rows may be in the event file.
        """
        with writing(self._engine) as connection:
            check_erasures(connection, erased)
            upsert(connection, PARTITIONS, asdict(partition))

    def open_window(
        self,
        ds: date,
        as_of: datetime,
        now: datetime,
        actor: str | None = None,
        subject: dict[str, Any] | None = None,
    ) -> WindowRecord:
        """The window of `ds`, opened `now` unless an earlier attempt opened it.

        Args:
            ds: Landing day.
            as_of: End of the window.
            now: Clock of this attempt.
            actor: Who works on it: a window that is not completed gets an audit row `run`, one for each actor and
                subject, however often and by however many tasks it is opened. None leaves none.
            subject: What the audit row says.

        Returns:
            The stored record; `opened_at` is the first attempt's clock for every later one.
        """
        window = WindowRecord(ds=ds, as_of=as_of, opened_at=now, completed_at=None, counts={})
        with writing(self._engine) as connection:
            insert_if_absent(connection, WINDOWS, asdict(window))
            stored = read_window(connection, ds, lock=actor is not None) or window
            if actor is not None and stored.completed_at is None:
                same = select(AUDIT.c.subject).where(AUDIT.c.action == "run", AUDIT.c.actor == actor)
                if subject not in connection.scalars(same).all():
                    values = {"at": now, "actor": actor, "action": "run", "subject": subject}
                    connection.execute(insert(AUDIT).values(values))
        return stored

    def move_head(self, previous: Head | None, new: Head, record: BucketRecord, erased: int | None = None) -> bool:
        """Move a bucket's head from `previous` to `new` by compare-and-swap, and add `record` to its history.

        Within a generation a head moves to the next day only. A higher generation, which is a restatement, may also
        begin at the same or an earlier day.

        Args:
            previous: The head that `new` was computed from; None if the bucket had none.
            new: The head to publish.
            record: The history row of `new`.
            erased: How many erased users were known when `new` was computed; None if that does not matter.

        Returns:
            True if the head moved. False if it already held the day and digest of `new`: the same work, done twice.

        Raises:
            HeadConflictError: the head holds the day of `new`, or that of `previous`, with another digest.
            ConcurrentUpdateError: the head moved beyond the day of `new`, another model version than that of `new`
                is live, or users were erased since.
            WindowOrderError: `new` would leave a gap or go back.
            ValueError: `record` describes another bucket, day, generation or digest than `new`.
        """
        if any(getattr(record, name) != getattr(new, name) for name in ("bucket", "ds", "generation", "digest")):
            raise ValueError(f"The history record of bucket {record.bucket} does not describe the head to publish.")
        with writing(self._engine) as connection:
            check_erasures(connection, erased)
            check_live(connection, new)
            if is_successor(previous, new) and swap_head(connection, previous, new):
                connection.execute(insert(BUCKETS).values(asdict(record)))
                return True
            row = connection.execute(select(HEADS).where(HEADS.c.bucket == new.bucket)).mappings().first()
        head = Head(**row) if row else None
        if head is not None and (head.ds, head.digest) == (new.ds, new.digest):
            return False
        raise conflict_error(head, previous, new)

    def complete_window(self, ds: date, counts: dict[str, Any], now: datetime) -> WindowRecord:
        """Complete the window of `ds`; of several calls the first one's clock and counts stay.

        Raises:
            WindowOrderError: the window was never opened.
        """
        pending = and_(WINDOWS.c.ds == ds, WINDOWS.c.completed_at.is_(None))
        with writing(self._engine) as connection:
            connection.execute(update(WINDOWS).where(pending).values(completed_at=now, counts=counts))
            window = read_window(connection, ds)
        if window is None:
            raise WindowOrderError(f"The window {ds} was never opened; run `updater run --ds {ds}`.", ds=ds)
        return window

    def add_model(self, model: ModelRecord) -> None:
        """Add a model version, and make it the live one if it says so; an identical version is left as it is.

        Raises:
            ConfigError: the version exists with another digest.
        """
        values = asdict(model)
        live = values.pop("live")
        with writing(self._engine) as connection:
            if insert_if_absent(connection, MODELS, values):
                if live:
                    upsert(connection, LIVE_MODEL, {"id": 1, "version": model.version})
                return
            stored: str = connection.scalars(select(MODELS.c.digest).where(MODELS.c.version == model.version)).one()
        if stored != model.digest:
            raise ConfigError(
                f"Model version {model.version} exists with other weights (digest {stored[:12]}, "
                f"not {model.digest[:12]}); give the new model the next version."
            )

    def set_live_model(self, version: int) -> None:
        """Make `version` the live model in the place of the one before. Raises NotFoundError if it does not exist."""
        with writing(self._engine) as connection:
            known = connection.scalars(select(MODELS.c.version).order_by(MODELS.c.version)).all()
            if version not in known:
                raise NotFoundError(
                    f"There is no model version {version}; known: {', '.join(map(str, known)) or 'none'}.",
                    kind="model version",
                    name=str(version),
                )
            upsert(connection, LIVE_MODEL, {"id": 1, "version": version})

    def promote_model(
        self, version: int, seen: Published, generation: int, subject: dict[str, Any], actor: str, now: datetime
    ) -> bool:
        """Make `version` live, with an audit row, by compare-and-swap: only if nothing was published since `seen`.

        Heads continue under `generation`, under which the files lie that the version was given.

        Returns:
            False if the live version, the watermark, a head or the erased users are others than those of `seen`.
        """
        with writing(self._engine) as connection:
            lock_erasures(connection, shared=True)
            # Locked, so that a head that moves at the same time waits, and is refused if its version is live no more.
            connection.execute(select(LIVE_MODEL).with_for_update())
            if read_published(connection) != seen:
                return False
            counted = LIVE_MODEL.c.num_promotions + 1
            connection.execute(update(LIVE_MODEL).values(version=version, num_promotions=counted))
            connection.execute(update(HEADS).values(generation=generation))
            values = {"at": now, "actor": actor, "action": "promote", "subject": subject}
            connection.execute(insert(AUDIT).values(values))
        return True

    def fix_setting(self, key: str, value: str) -> str:
        """Fix `key` at `value` unless it is fixed already. Returns the stored value, for the caller to compare."""
        with writing(self._engine) as connection:
            insert_if_absent(connection, SETTINGS, {"key": key, "value": value})
            stored: str = connection.scalars(select(SETTINGS.c.value).where(SETTINGS.c.key == key)).one()
        return stored

    def advance_earliest_recomputable(self, earliest: date) -> None:
        """Record that days before `earliest` cannot be computed again, before they are dropped. It only advances."""
        with writing(self._engine) as connection:
            insert_if_absent(connection, REACH, {"id": 1, "ds": earliest})
            connection.execute(update(REACH).where(REACH.c.ds < earliest).values(ds=earliest))

    def swap_event_files(self, modality: str, old: Mapping[date, str], new: str | None, erased: int) -> bool:
        """Name event file `new` (None for none) for landed days in the place of `old`, all of them or nothing.

        Args:
            modality: Whose days.
            old: What the ledger named for each day when `new` was made.
            new: The file with the rows of all these days.
            erased: How many erased users were known when `new` was made.

        Returns:
            False if another file was recorded for a day since.

        Raises:
            ConcurrentUpdateError: users were erased since, so their rows may be in `new`.
        """
        with writing(self._engine) as connection:
            check_erasures(connection, erased)
            for ds, name in sorted(old.items()):
                here = and_(PARTITIONS.c.modality == modality, PARTITIONS.c.ds == ds, PARTITIONS.c.events_file == name)
                if connection.execute(update(PARTITIONS).where(here).values(events_file=new)).rowcount != 1:
                    connection.rollback()
                    return False
        return True

    def replace_retired(self, files: Iterable[RetiredFile]) -> None:
        """Let `files` be all that nobody reads any more and that is there."""
        with writing(self._engine) as connection:
            connection.execute(delete(RETIRED))
            if rows := [asdict(file) for file in files]:
                connection.execute(insert(RETIRED), rows)

    def begin_restatement(self, now: datetime) -> None:
        """Say that a restatement is under way, before anything of it is; one that is said to be stays as it is."""
        with writing(self._engine) as connection:
            insert_if_absent(connection, RESTATEMENT, {"id": 1, "began": now})

    def end_restatement(self) -> None:
        """Say that no restatement is under way."""
        with writing(self._engine) as connection:
            connection.execute(delete(RESTATEMENT))

    def record_erasures(self, user_ids: Sequence[str], now: datetime) -> Erased:
        """Record that `user_ids` are erased from now on; returns all erased users. What is known is left as it is."""
        salt = self.fix_setting(ERASURE_SALT, secrets.token_hex(HASH_BYTES))
        with writing(self._engine) as connection:
            lock_erasures(connection, shared=False)
            for user in user_ids:
                row = {"hash": erasure_hash(salt, user), "recorded_at": now, "erased_at": None}
                insert_if_absent(connection, ERASED, row)
        return self.erased()

    def replace_events(self, modality: str, ds: date, old: str, new: str | None, num_erased: int) -> None:
        """Put event file `new`, which lacks `num_erased` rows of erased users, in the place of `old`."""
        here = and_(PARTITIONS.c.modality == modality, PARTITIONS.c.ds == ds, PARTITIONS.c.events_file == old)
        counted = PARTITIONS.c.num_erased + num_erased
        with writing(self._engine) as connection:
            connection.execute(update(PARTITIONS).where(here).values(events_file=new, num_erased=counted))

    def replace_bucket_record(self, old: BucketRecord, new: BucketRecord) -> None:
        """Put `new` (the same bucket, day and generation) in the place of `old`, and its digest into the head.

        Raises:
            ConcurrentUpdateError: somebody replaced `old` before.
        """
        same = {"bucket": old.bucket, "ds": old.ds, "generation": old.generation, "digest": old.digest}
        with writing(self._engine) as connection:
            here = and_(*(BUCKETS.c[name] == value for name, value in same.items()))
            if connection.execute(update(BUCKETS).where(here).values(asdict(new))).rowcount != 1:
                raise ConcurrentUpdateError(
                    f"Bucket {old.bucket} was changed for {old.ds} by another command; run the same command again.",
                    cause="window",
                    ds=old.ds,
                    bucket=old.bucket,
                )
            here = and_(*(HEADS.c[name] == value for name, value in same.items()))
            connection.execute(update(HEADS).where(here).values(digest=new.digest))

    def complete_erasures(self, hashes: Sequence[str], actor: str, now: datetime) -> None:
        """Write down that the users with these hashes are erased everywhere, with an audit row for each that is new."""
        with writing(self._engine) as connection:
            for value in hashes:
                pending = and_(ERASED.c.hash == value, ERASED.c.erased_at.is_(None))
                if connection.execute(update(ERASED).where(pending).values(erased_at=now)).rowcount:
                    row = {"at": now, "actor": actor, "action": "erase", "subject": {"user_hash": value}}
                    connection.execute(insert(AUDIT).values(row))

    def record_audit(self, action: str, subject: dict[str, Any], actor: str, now: datetime) -> None:
        """Append to the audit: `actor` did `action` to `subject`."""
        values = {"at": now, "actor": actor, "action": action, "subject": subject}
        with writing(self._engine) as connection:
            connection.execute(insert(AUDIT).values(values))
