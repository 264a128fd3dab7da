"""Who changed in a window, shard by shard: each is compared with the buffer by itself, so memory holds one, and several
processes work side by side.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.window import day_window
from updater.lake import partitions
from updater.runtime.crash_points import crash_point
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.state.event_store import CHANGES_SCHEMA, Buffer, EventFile, connect


@dataclass(frozen=True)
class Part:
    """A modality in a shard."""

    modality: str
    files: Sequence[EventFile]
    """The shard's, of all landed days."""
    path: str
    """Where it is written down who changed."""
    is_kept: bool
    """What is written down there stays: published values rest on it."""


@dataclass(frozen=True)
class Found:
    """Who changed in a shard, in numbers."""

    changed_users: int
    """In any modality."""
    by_modality: Mapping[str, int]
    reasons: Mapping[str, Mapping[str, int]]
    """Per modality the events by reason."""


def find_changes(
    pool: ProcessPool | None, settings: Settings, ds: date, is_first: bool, shards: Sequence[Sequence[Part]]
) -> Iterator[Found]:
    """Compare the landed day `ds` with the buffer and write down who changed; yields what each shard has.

    Args:
        pool: the processes that do it; None: this one.
        settings: the config.
        ds: landing day of the window.
        is_first: it is the first window ever, in which everybody with content is new.
        shards: per shard what to compare.
    """
    if pool is None:
        yield from _job(settings, ds, is_first, shards)
        return
    jobs = [(settings, ds, is_first, [shards[shard] for shard in group]) for group in pool.groups(range(len(shards)))]
    for _, found in pool.map(_job, jobs):
        yield from found


def _job(settings: Settings, ds: date, is_first: bool, shards: Sequence[Sequence[Part]]) -> list[Found]:
    with connect(settings.paths.state) as connection:
        return [_of_shard(settings, connection, ds, is_first, parts) for parts in shards]


def _of_shard(
    settings: Settings, connection: duckdb.DuckDBPyConnection, ds: date, is_first: bool, parts: Sequence[Part]
) -> Found:
    users, by_modality, reasons = [], {}, {}
    for part in parts:
        changes = _of_part(settings, connection, ds, is_first, part)
        users.append(pc.unique(changes["user_id"]))
        by_modality[part.modality] = len(users[-1])
        counted = changes.group_by("reason", use_threads=False).aggregate([("num_events", "sum")])
        totals = zip(counted["reason"].to_pylist(), counted["num_events_sum"].to_pylist(), strict=True)
        reasons[part.modality] = dict(totals)
    return Found(len(pc.unique(pa.chunked_array(users, pa.string()))), by_modality, reasons)


def _of_part(
    settings: Settings, connection: duckdb.DuckDBPyConnection, ds: date, is_first: bool, part: Part
) -> pa.Table:
    if part.is_kept:
        return partitions.read_table(part.path)
    modality, window = settings.modality(part.modality), day_window(ds, settings.timezone)
    buffer = Buffer(connection, modality, part.files, settings.buffer.days, settings.timezone)
    compared = settings.profile.compared_columns(modality)
    changes = buffer.everyone(window) if is_first else buffer.changes(window, compared=compared)
    changes = changes.cast(CHANGES_SCHEMA)
    with crash_point("changes"):
        partitions.write_table(part.path, changes)
    return changes


def sum_reasons(found: Sequence[Found], modality: str) -> dict[str, int]:
    """Events of a modality by reason, over shards."""
    total: Counter[str] = Counter()
    for shard in found:
        total.update(shard.reasons[modality])
    return dict(total)
