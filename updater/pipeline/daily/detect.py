"""Detect: which users of a modality changed in a window, and why.

Landing a day (rows to an event file) is pure in its rows and may run in any order; comparing it with the buffer needs
the landed days before it.
"""

import logging
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from tempfile import TemporaryFile

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.modality import Modality
from updater.domain.window import Window
from updater.errors import WindowOrderError
from updater.lake import partitions
from updater.lake.landed_files import source_etag
from updater.lake.landing import check_rejected_share
from updater.lake.schemas import EVENT_ROWS
from updater.ledger import PartitionRecord
from updater.pipeline.daily.admission import landing_days, not_landed
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, no_progress
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
        with crash_point("changes"):
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
        raise not_landed(context, ds, modality)
    token = source_etag(directory)
    modality_fingerprint = settings.modality_fingerprint(modality.name)
    if record is not None and (record.source_etag, record.modality_fingerprint) == (token, modality_fingerprint):
        return record
    erased = len(context.ledger.erased())
    record = read_landed(context, ds, modality)
    with crash_point("partition"):
        context.ledger.record_partition(record, erased)
    return record


def read_landed(context: Context, ds: date, modality: Modality) -> PartitionRecord:
    """Read and check a landed partition and write its event file; the record is the caller's to keep.

    See `land_day` for errors.
    """
    settings = context.settings
    directory = context.lake(modality.name, ds)
    token = source_etag(directory)
    modality_fingerprint = settings.modality_fingerprint(modality.name)
    landed = context.landed(modality, ds)
    rejected = context.layout.rejected_file(modality.name, ds)
    if landed.rejected.num_rows:
        with crash_point("rejected"):
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
            name = events_name(landed.digest, modality_fingerprint, content if landed.num_erased else None)
        path = context.layout.event_file(modality.name, ds, name)
        with crash_point("events"):
            partitions.write_table(path, landed.events, EVENT_ROWS)
    return PartitionRecord(
        modality=modality.name,
        ds=ds,
        source_etag=token,
        source_digest=landed.digest,
        modality_fingerprint=modality_fingerprint,
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


def _check_kept(context: Context, window: Window) -> None:
    earliest = context.ledger.earliest_recomputable()
    if earliest is not None and window.ds < earliest:
        raise WindowOrderError(
            f"{window} cannot be detected again: events are kept for windows from {earliest} on only "
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
