"""Detect: which users of a modality changed in a window, and why.

Landing a day (rows to an event file) is pure in its rows and may run in any order; comparing it with the buffer needs
the landed days before it.
"""

import logging
import os
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from tempfile import TemporaryFile

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.modality import Modality
from updater.domain.window import Window, days, first_buffer_day
from updater.errors import ConfigError, NotLandedError, UnfinishedWorkError, WindowOrderError
from updater.lake import partitions
from updater.lake.landed_files import source_token
from updater.lake.landing import check_rejected_share
from updater.lake.schemas import EVENT_ROWS
from updater.ledger import PartitionRecord
from updater.pipeline.monitor import audit
from updater.runtime.crash_points import durable
from updater.runtime.deployment import Context, Progress, day_after, day_before, no_progress
from updater.runtime.timing import Stopwatch
from updater.state.event_store import CHANGES_SCHEMA, Buffer, connect
from updater.state.rewrite import events_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detected:
    """What one window changed in one modality."""

    modality: str
    rows: int
    rejected: int
    changed_users: int
    reasons: dict[str, int]
    """Events by reason: new, late, replaced, deleted, expired."""
    erased: int = 0
    """Rows of erased users, left out."""
    landed: bool = True
    """False if an optional modality has no partition for the day."""


def open_window(context: Context, window: Window, by: str | None = None) -> None:
    """Open the window in the ledger, or find it opened by an earlier attempt.

    Args:
        context: the deployment.
        window: the window.
        by: the scheduler whose tasks work on the window, which leaves one audit row for all of them; None for a
            command, which leaves a row of its own.

    Raises:
        NotLandedError: a modality that is not optional has no `_SUCCESS` for the day.
        WindowOrderError: the window leaves a gap after the last one, or lies before the first.
        UnfinishedWorkError: a restatement has not ended.
        ConfigError: the modalities are not those of the windows before.
    """
    check_modalities(context)
    check_order(context, window)
    is_new = context.ledger.window(window.ds) is None
    if is_new:
        check_landed(context, window)
    if is_new or by:
        subject = {"ds": str(window), "by": by}
        with durable("window"):
            context.ledger.open_window(
                window.ds, window.as_of, context.now, audit.actor(os.environ) if by else None, subject
            )


def check_modalities(context: Context) -> None:
    """Raise ConfigError if the config lays out the prefix otherwise than the windows before: a model is made for one
    layout, and a refresh would refuse it when the window is open and its rows have landed.
    """
    head = context.ledger.head(0)
    if head is not None and [*head.modalities.items()] != [*context.modality_fingerprints().items()]:
        raise ConfigError(
            f"The modalities in {context.settings.source} are not those that the state was made with "
            f"({', '.join(head.modalities)}), or not in that order, or one has another max_events; "
            "set them back, or start a new state."
        )


def check_order(context: Context, window: Window) -> None:
    """Raise WindowOrderError if the window leaves a gap or lies before the first, and UnfinishedWorkError while a
    restatement is unfinished.
    """
    if partitions.exists(context.layout.restatement_plan()):
        last = context.ledger.watermark()
        raise UnfinishedWorkError(
            f"A restatement was started but not finished, so {window} cannot run; "
            f"run `updater backfill --from-date {context.first_window()} --to-date {last} --restate`.",
            kind="restatement",
        )
    known = sorted(record.ds for record in context.ledger.windows())
    if known and window.ds < known[0]:
        raise WindowOrderError(
            f"{window} lies before {known[0]}, the first window of this state; to have earlier "
            "days, start a new state with "
            f"`updater backfill --from-date {window} --to-date …`.",
            ds=window.ds,
        )
    if known and window.ds > (missing := day_after(known[-1])):
        raise WindowOrderError(
            f"{window} would leave a gap after {known[-1]}; run `updater backfill --from-date "
            f"{missing} --to-date {window}`.",
            ds=window.ds,
            resume_from=missing,
        )


def check_landed(context: Context, window: Window) -> None:
    """Raise NotLandedError unless every modality that is not optional has landed: in the window, and for the first
    window in all of its buffer.
    """
    lake = context.settings.paths.lake
    if not partitions.exists(lake):
        raise NotLandedError(
            f"The lake {lake} does not exist; set paths.lake in {context.settings.source} or land a first day there."
        )
    is_first = context.first_window() in (None, window.ds)
    for modality in context.settings.modalities:
        if modality.optional:
            continue
        root = partitions.join(lake, modality.name)
        landed = set(partitions.landed_days(root)) if is_first else set()
        for ds in [*(_landing_days(context, window, modality, landed) if is_first else []), window.ds]:
            if ds not in landed and not partitions.has_landed(root, ds):
                raise _not_landed(context, ds, modality)


def _not_landed(context: Context, ds: date, modality: Modality) -> NotLandedError:
    return NotLandedError(
        f"{context.lake(modality.name, ds)} has not landed: it has no {partitions.SUCCESS}; land "
        "the day and run again, "
        f"or declare modality {modality.name!r} optional."
    )


def detect(
    context: Context,
    window: Window,
    modality: Modality,
    progress: Progress = no_progress,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> Detected:
    """Land the window's partition of a modality and write down which users changed.

    The first window ever lands every day that its buffer reaches back to. Run again, it does nothing that is done.

    Args:
        context: the deployment.
        window: the window.
        modality: what to detect changes of.
        progress: told of days that are landed.
        connection: DuckDB over the state; one is opened, and closed again, if left out.

    Raises:
        NotLandedError: the day has no `_SUCCESS` and the modality is not optional.
        DataRefusedError: the partition's schema is wrong, or too much of it is rejected.
    """
    watch = Stopwatch()
    first = context.first_window() == window.ds
    wanted = landing_days(context, window, modality) if first else [window.ds]
    if first:
        for done, ds in enumerate(wanted):
            progress(f"landing {modality.name}", done, len(wanted))
            land_day(context, ds, modality)
    land_day(context, window.ds, modality)
    path = context.layout.changes_file(modality.name, window.ds)
    if not _is_published(context, window.ds) or not partitions.exists(path):
        _check_kept(context, window)
        with nullcontext(connection) if connection else connect(context.settings.paths.state) as opened:
            changes = _changes(context, opened, window, modality, everyone=first)
        with durable("changes"):
            partitions.write_table(path, changes)
    found = detected(context, window, modality)
    logger.info(
        "detected %s of %s: %d rows, %d rejected, %d changed users, %.1f s",
        modality.name,
        window,
        found.rows,
        found.rejected,
        found.changed_users,
        watch.seconds,
    )
    return found


def detected(context: Context, window: Window, modality: Modality) -> Detected:
    """What detect found in a window that has been detected."""
    changes = read_changes(context, window, modality.name)
    record = context.ledger.partition(modality.name, window.ds)
    reasons: Counter[str] = Counter()
    for reason, count in zip(changes["reason"].to_pylist(), changes["num_events"].to_pylist(), strict=True):
        reasons[reason] += count
    users = len(pc.unique(changes["user_id"]))
    if record is None:
        return Detected(modality.name, 0, 0, users, dict(reasons), landed=False)
    return Detected(modality.name, record.num_rows, record.num_rejected, users, dict(reasons), record.num_erased)


def land_day(context: Context, ds: date, modality: Modality) -> PartitionRecord | None:
    """Turn a landed partition into an event file, once; None if an optional modality has none.

    A partition whose window is published keeps its event file even if the lake's files were rewritten, and one that
    comes only then gets none; `rewritten` reports both.
    """
    settings = context.settings
    directory = context.lake(modality.name, ds)
    record = context.ledger.partition(modality.name, ds)
    if (record is not None or modality.optional) and _is_published(context, ds):
        return record
    root = partitions.join(settings.paths.lake, modality.name)
    if not partitions.has_landed(root, ds):
        if modality.optional:
            return None
        raise _not_landed(context, ds, modality)
    token = source_token(directory)
    declaration = settings.modality_fingerprint(modality.name)
    if record is not None and (record.source_token, record.declaration) == (token, declaration):
        return record
    erased = len(context.ledger.erased())
    record = read_landed(context, ds, modality)
    with durable("partition"):
        context.ledger.record_partition(record, erased)
    return record


def read_landed(context: Context, ds: date, modality: Modality) -> PartitionRecord:
    """Read and check a landed partition and write its event file; the record is the caller's to keep.

    See `land_day` for errors.
    """
    settings = context.settings
    directory = context.lake(modality.name, ds)
    token = source_token(directory)
    declaration = settings.modality_fingerprint(modality.name)
    landed = context.landed(modality, ds)
    rejected = context.layout.rejected_file(modality.name, ds)
    if landed.rejected.num_rows:
        with durable("rejected"):
            partitions.write_table(rejected, landed.rejected)
    else:
        partitions.remove(rejected)
    check_rejected_share(landed, directory, settings.limits)
    name = None
    if landed.events.num_rows:
        with TemporaryFile(prefix="updater-landing-") as content:
            if landed.num_erased:
                partitions.write_parquet(landed.events, content, EVENT_ROWS)
                content.seek(0)
            name = events_name(landed.digest, declaration, content if landed.num_erased else None)
        path = context.layout.event_file(modality.name, ds, name)
        with durable("events"):
            partitions.write_table(path, landed.events, EVENT_ROWS)
    return PartitionRecord(
        modality=modality.name,
        ds=ds,
        source_token=token,
        source_digest=landed.digest,
        declaration=declaration,
        events_file=name,
        num_rows=landed.num_rows,
        num_rejected=landed.rejected.num_rows,
        num_bytes=landed.num_bytes,
        recorded_at=context.now,
        num_erased=landed.num_erased,
    )


def read_changes(context: Context, window: Window, modality: str) -> pa.Table:
    """Who changed in a modality. Raises WindowOrderError if the window has not been detected."""
    try:
        return partitions.read_table(context.layout.changes_file(modality, window.ds))
    except FileNotFoundError:
        raise WindowOrderError(
            f"{window} of modality {modality!r} has not been detected; run `updater run --ds {window}`."
        ) from None


def landing_days(context: Context, window: Window, modality: Modality) -> list[date]:
    """Days that the first window has to land: all that its buffer reaches, from the first day the lake has."""
    landed = partitions.landed_days(partitions.join(context.settings.paths.lake, modality.name))
    return _landing_days(context, window, modality, set(landed))


def _landing_days(context: Context, window: Window, modality: Modality, landed: set[date]) -> list[date]:
    if not landed:
        return [window.ds]
    first = first_buffer_day(window.ds, context.settings.buffer.days)
    start = min(landed) if modality.kind == "snapshot" else max(first, min(landed))
    return [ds for ds in days(start, day_before(window.ds)) if not (modality.optional and ds not in landed)]


def _check_kept(context: Context, window: Window) -> None:
    reach = context.ledger.reach()
    if reach is not None and window.ds < reach:
        raise WindowOrderError(
            f"{window} cannot be detected again: events are kept for windows from {reach} on only "
            "([retention] history_days); its values stand as they were published."
        )


def _is_published(context: Context, ds: date) -> bool:
    """True once any bucket's published values may rest on the landing day `ds`."""
    newest = context.ledger.newest_head()
    return newest is not None and newest >= ds


def _changes(
    context: Context, connection: duckdb.DuckDBPyConnection, window: Window, modality: Modality, everyone: bool
) -> pa.Table:
    settings = context.settings
    files = context.event_files(modality.name, window.ds)
    buffer = Buffer(connection, modality, files, settings.buffer.days, settings.timezone)
    return (buffer.everyone(window) if everyone else buffer.changes(window)).cast(CHANGES_SCHEMA)
