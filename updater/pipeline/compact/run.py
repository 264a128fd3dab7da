"""Maintain: what lies in many files is merged, what no window reads any more is removed.

The order is the point (docs/adr/0009-compaction.md): a merged file is complete before anything refers to it, the ledger
(or the file's name) shows it to readers at once, and what it holds is removed only when those who listed the old files
have had time to read them. Killed anywhere and run again, it leads to the same state.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

from updater.lake import partitions
from updater.pipeline.compact.buckets import compact_buckets, contained_files, count_merges, plan_buckets, roots
from updater.pipeline.compact.events import compact_events, count_events, named_at, plan_event_files, unnamed_files
from updater.pipeline.compact.report import MaintenanceReport, Part, sum_parts
from updater.pipeline.compact.scope import Scope, check_alone, scope_of
from updater.pipeline.compact.trash import retire, temporary_files
from updater.pipeline.monitor import audit
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.session import text_vectors
from updater.runtime.state_lock import Lock, StateLock
from updater.runtime.timing import Stopwatch
from updater.state.layout import StatePart

logger = logging.getLogger(__name__)

SMALL_SEGMENTS = 8
"""Small segments of text vectors that wait until they are merged into one."""
PARTS = (
    StatePart.EVENTS,
    StatePart.SUMMARIES,
    StatePart.OFFLINE,
    StatePart.TEXTS,
    StatePart.MODELS,
    StatePart.CHANGES,
    StatePart.REJECTED,
)


@dataclass(frozen=True)
class Job:
    """Files of one part of the state that are to be merged or dropped."""

    label: str
    part: StatePart
    counts: Part
    carry_out: Callable[[WritableContext], None]


def plan_maintenance(context: Context) -> MaintenanceReport:
    """What `maintain` would do; changes nothing.

    Raises:
        NothingCommittedError: no window is committed.
        UnfinishedWorkError: a restatement or an erasure is unfinished.
    """
    scope = scope_of(context)
    counted = [
        *((job.part, job.counts) for job in _jobs(context, scope)),
        *((part, Part(dropped=len(partitions.file_sizes(directory)))) for part, directory in _expired(context, scope)),
        *((_part(context, path), Part(waiting=1)) for path in _retired(context, scope, _sizes(context))),
    ]
    return MaintenanceReport(str(scope.watermark), _iso(scope.earliest_recomputable), True, sum_parts(PARTS, counted))


def maintain(context: WritableContext, progress: Progress = no_progress) -> MaintenanceReport:
    """Merge and prune the state. Windows may run at the same time; a second maintenance, or an erasure, waits.

    Args:
        context: the deployment.
        progress: called for each part.

    Raises:
        NothingCommittedError: no window is committed.
        UnfinishedWorkError: a restatement or an erasure is unfinished.
        ConcurrentUpdateError: users were erased meanwhile; run it again.
    """
    watch = Stopwatch()
    with StateLock(context, Lock.REWRITING).exclusive():
        scope = scope_of(context)
        ds, earliest = str(scope.watermark), _iso(scope.earliest_recomputable)
        if scope.earliest_recomputable is not None:
            with crash_point("reach"):
                context.ledger.advance_earliest_recomputable(scope.earliest_recomputable)
            # A restatement that is planned meanwhile looks at that day after it has saved its plan.
            check_alone(context)
        counted = [*_merge(context, scope, progress), *_prune(context, scope)]
        sizes = _sizes(context)
        waiting, removed = retire(context, _retired(context, scope, sizes), sizes, named_at(context))
        counted += [(_part(context, path), Part(waiting=1)) for path in waiting]
        counted += [
            (_part(context, path), Part(removed=1, bytes_removed=num_bytes)) for path, num_bytes in removed.items()
        ]
        audit.record(
            context, "maintain", ds=ds, earliest_recomputable=earliest, removed=len(removed), waiting=len(waiting)
        )
    report = MaintenanceReport(ds, earliest, False, sum_parts(PARTS, counted))
    logger.info(
        "maintained the state at %s: %d files merged into %d, %d removed, %d waiting, %.1f s",
        report.ds,
        sum(part.merged for part in report.parts.values()),
        sum(part.made for part in report.parts.values()),
        len(removed),
        len(waiting),
        watch.seconds,
    )
    return report


def _merge(context: WritableContext, scope: Scope, progress: Progress) -> list[tuple[str, Part]]:
    counted: list[tuple[str, Part]] = []
    num_jobs = len(context.settings.modalities) + len(roots(context)) + 1
    for done, job in enumerate(_jobs(context, scope)):
        progress(f"merging {job.label}", done, num_jobs)
        job.carry_out(context)
        counted.append((job.part, job.counts))
    return counted


def _jobs(context: Context, scope: Scope) -> Iterator[Job]:
    """What there is to merge and drop; each job is planned when the one before it is done."""
    for modality in context.settings.modalities:
        events = plan_event_files(context, scope, modality)
        carry_out = partial(compact_events, scope=scope, modality=modality, plan=events)
        yield Job(modality.name, StatePart.EVENTS, count_events(events, len(context.shards)), carry_out)
    for root in roots(context):
        merges = plan_buckets(context, scope, root)
        part = StatePart(_part(context, root))
        yield Job(_name(root), part, count_merges(merges), partial(compact_buckets, root=root, merges=merges))
    small = text_vectors(context).small()
    small = small if len(small) > SMALL_SEGMENTS else []
    counts = Part(merged=len(small), made=1 if small else 0)
    yield Job("texts", StatePart.TEXTS, counts, partial(_compact_texts, small=small))


def _compact_texts(context: WritableContext, small: Sequence[str]) -> None:
    if small:
        with crash_point("merged_texts"):
            text_vectors(context).merge(small)


def _prune(context: WritableContext, scope: Scope) -> list[tuple[str, Part]]:
    """Remove the reports of old days, which no window reads, at once."""
    counted: list[tuple[str, Part]] = []
    for part, directory in _expired(context, scope):
        sizes = partitions.file_sizes(directory)
        with crash_point("pruned"):
            partitions.remove(directory)
        counted.append((part, Part(dropped=len(sizes), removed=len(sizes), bytes_removed=sum(sizes.values()))))
    return counted


def _expired(context: Context, scope: Scope) -> list[tuple[StatePart, str]]:
    """Directories with the reports of old days, and the part of the state that each belongs to."""
    firsts = ((StatePart.CHANGES, scope.earliest_recomputable), (StatePart.REJECTED, scope.rejected))
    return [(part, directory) for part, first in firsts for directory in _days_before(context, part, first)]


def _days_before(context: Context, part: str, first: date | None) -> list[str]:
    if first is None:
        return []
    modalities = [context.layout.path(part, name) for name in partitions.list_names(context.layout.path(part))]
    return [
        partitions.join(root, day)
        for root in modalities
        for day in partitions.list_names(root)
        if day.startswith("ds=") and day < f"ds={first.isoformat()}"
    ]


def _sizes(context: Context) -> dict[str, int]:
    """Bytes of all files of the parts that are maintained, by path."""
    return {path: size for part in PARTS for path, size in partitions.file_sizes(context.layout.path(part)).items()}


def _retired(context: Context, scope: Scope, sizes: Mapping[str, int]) -> list[str]:
    """All files that nobody reads any more and that only lie there for those who have listed them."""
    return [
        *(path for modality in context.settings.modalities for path in unnamed_files(context, scope, modality)),
        *(path for root in roots(context) for path in contained_files(root)),
        *text_vectors(context).covered(),
        *temporary_files(context, sizes),
    ]


def _part(context: Context, path: str) -> str:
    return context.layout.part_of(path)


def _iso(ds: date | None) -> str | None:
    return ds.isoformat() if ds else None


def _name(path: str) -> str:
    return path.rsplit("/", 1)[1]
