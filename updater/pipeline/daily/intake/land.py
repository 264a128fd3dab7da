"""Landing: a day of a modality becomes an event file per shard, once, or for a plan files that are thrown away.

Landing is pure in a day's rows, and days may land in any order.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from tempfile import TemporaryFile

import pyarrow as pa

from updater.domain.declared.modality import Modality
from updater.domain.erasure import Erased
from updater.domain.window import Window
from updater.errors import WindowOrderError
from updater.lake import partitions
from updater.lake.landed_files import source_etag
from updater.lake.landing import check_rejected_share
from updater.lake.schemas import EVENT_ROWS
from updater.ledger import PartitionRecord
from updater.pipeline.daily.intake.admission import not_landed
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext
from updater.state.event_store import EventFile
from updater.state.rewrite import events_name


@dataclass(frozen=True)
class LandedDay:
    """A landed day of a modality as a window takes it in."""

    files: Sequence[EventFile]
    """One per shard; none without any row."""
    num_rows: int
    num_rejected: int
    num_erased: int


Land = Callable[[date, Modality, Collection[date] | None], LandedDay | None]
"""Lands a day of a modality; of the days that the lake has, if somebody listed them. None if an optional modality has
none.
"""


def into_state(
    context: WritableContext, ds: date, modality: Modality, in_lake: Collection[date] | None = None
) -> LandedDay | None:
    """A day as a run takes it in: landed in the state."""
    record = land_day(context, ds, modality, in_lake)
    return _recorded(context, record) if record else None


def into_scratch(
    context: Context, scratch: str, ds: date, modality: Modality, in_lake: Collection[date] | None = None
) -> LandedDay | None:
    """The same for a plan: what has not landed in the state is landed in the directory `scratch`."""
    record, is_due = _standing(context, ds, modality, in_lake)
    if not is_due:
        return _recorded(context, record) if record else None
    landed = context.landed(modality, ds)
    check_rejected_share(landed, context.lake(modality.name, ds), context.settings.limits)
    files = []
    for shard, events in _by_shard(context, landed.events):
        files.append(
            EventFile(ds, f"{scratch}/{modality.name}-{ds}-{shard}.parquet", buckets=context.shards.buckets(shard))
        )
        partitions.write_table(files[-1].path, events, EVENT_ROWS)
    return LandedDay(files, landed.num_rows, landed.rejected.num_rows, landed.num_erased)


def land_day(
    context: WritableContext, ds: date, modality: Modality, in_lake: Collection[date] | None = None
) -> PartitionRecord | None:
    """Turn a landed partition into event files, one per shard, once; None if an optional modality has none.

    A partition whose window is published keeps its event files even if the lake's files were rewritten, and one that
    comes only then gets none; `rewritten` reports both.

    Args:
        context: the deployment.
        ds: the landing day.
        modality: whose partition.
        in_lake: days of the modality that the lake has, if somebody listed them.

    Raises:
        NotLandedError: the day has no `_SUCCESS` and the modality is not optional.
        DataRefusedError: the partition's schema is wrong, or too much of it is rejected.
    """
    record, is_due = _standing(context, ds, modality, in_lake)
    if not is_due:
        return record
    erased = context.ledger.erased()
    record = read_landed(context, ds, modality, erased)
    with crash_point("partition"):
        context.ledger.record_partition(record, len(erased))
    return record


def _standing(
    context: Context, ds: date, modality: Modality, in_lake: Collection[date] | None
) -> tuple[PartitionRecord | None, bool]:
    """What a window takes a landed day for that is not to be read (again), and whether it is to be."""
    settings = context.settings
    record = context.ledger.partition(modality.name, ds)
    if (record is not None or modality.optional) and is_published(context, ds):
        return record, False
    root = partitions.join(settings.paths.lake, modality.name)
    if not (partitions.has_landed(root, ds) if in_lake is None else ds in in_lake):
        if modality.optional:
            return None, False
        raise not_landed(context, ds, modality)
    if record is None:
        return None, True
    etag, declared = source_etag(context.lake(modality.name, ds)), settings.modality_fingerprint(modality.name)
    return record, (record.source_etag, record.modality_fingerprint) != (etag, declared)


def _recorded(context: Context, record: PartitionRecord) -> LandedDay:
    name = record.events_file
    files = context.files_of_day(record.modality, record.ds, name) if name else []
    return LandedDay(files, record.num_rows, record.num_rejected, record.num_erased)


def read_landed(context: WritableContext, ds: date, modality: Modality, erased: Erased) -> PartitionRecord:
    """Read and check a landed partition and write its event files, without rows of `erased` users; the record is the
    caller's to keep.

    See `land_day` for errors.
    """
    settings = context.settings
    directory = context.lake(modality.name, ds)
    etag = source_etag(directory)
    modality_fingerprint = settings.modality_fingerprint(modality.name)
    landed = context.landed(modality, ds, erased)
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
        for shard, events in _by_shard(context, landed.events):
            with crash_point("events"):
                partitions.write_table(context.event_file(modality.name, ds, name, shard).path, events, EVENT_ROWS)
    return PartitionRecord(
        modality=modality.name,
        ds=ds,
        source_etag=etag,
        source_digest=landed.digest,
        modality_fingerprint=modality_fingerprint,
        events_file=name,
        num_rows=landed.num_rows,
        num_rejected=landed.rejected.num_rows,
        num_bytes=landed.num_bytes,
        recorded_at=context.now,
        num_erased=landed.num_erased,
    )


def _by_shard(context: Context, events: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each shard, of a table sorted by bucket: none, but a table, where a shard has none. Empty without
    any rows.
    """
    if not events.num_rows:
        return
    buckets = events["bucket"]
    start = 0
    for shard in context.shards:
        # The table may lie on the disk: a search reads some values of the column, and not all of them.
        after = context.shards.buckets(shard).stop
        stop = bisect_left(range(events.num_rows), after, lo=start, key=lambda row: buckets[row].as_py())
        yield shard, events.slice(start, stop - start)
        start = stop


def check_kept(context: Context, window: Window) -> None:
    """Raise WindowOrderError if what it takes to detect the window's changes has been dropped."""
    earliest = context.ledger.earliest_recomputable()
    if earliest is not None and window.ds < earliest:
        raise WindowOrderError(
            f"{window} cannot be detected again: events are kept for windows from {earliest} on only "
            "([retention] history_days); its values stand as they were published."
        )


def is_published(context: Context, ds: date) -> bool:
    """True once any bucket's published values may rest on the landing day `ds`."""
    newest = context.ledger.newest_head()
    return newest is not None and newest >= ds
