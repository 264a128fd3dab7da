"""Maintain: what lies in many files is merged, what no window reads any more is removed.

The order is the point (docs/adr/0009-compaction.md): a merged file is complete before anybody is told of it, the ledger
(or the file's name) tells readers of it at once, and what it holds is removed only when those who listed the old files
have had time to read them. Killed anywhere and run again, it leads to the same state.
"""

import logging
from datetime import date
from functools import partial
from pathlib import Path

from updater.lake import partitions
from updater.pipeline.compact.buckets import compact_buckets, contained_files, roots
from updater.pipeline.compact.events import compact_events, unnamed_files
from updater.pipeline.compact.report import MaintenanceReport, Part
from updater.pipeline.compact.scope import Scope, check_alone, scope_of
from updater.pipeline.compact.trash import retire, temporary_files
from updater.pipeline.monitor import audit
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.session import text_vectors
from updater.runtime.state_lock import StateLock
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


def maintain(context: Context, progress: Progress = no_progress, dry_run: bool = False) -> MaintenanceReport:
    """Merge and prune the state. Windows may run at the same time; a second maintenance, or an erasure, waits.

    Args:
        context: the deployment.
        progress: told of each part.
        dry_run: say what would be done, and change nothing.

    Raises:
        NothingCommittedError: no window is committed.
        UnfinishedWorkError: a restatement or an erasure is unfinished.
        ConcurrentUpdateError: users were erased meanwhile; run it again.
    """
    watch = Stopwatch()
    with StateLock(context.layout.rewriting_lock()).exclusive():
        scope = scope_of(context)
        earliest = scope.earliest_recomputable.isoformat() if scope.earliest_recomputable else None
        report = MaintenanceReport(scope.watermark.isoformat(), earliest, dry_run, {name: Part() for name in PARTS})
        if scope.earliest_recomputable is not None and not dry_run:
            with crash_point("reach"):
                context.ledger.advance_earliest_recomputable(scope.earliest_recomputable)
            # A restatement that is planned meanwhile looks at the reach after it has saved its plan.
            check_alone(context)
        _merge(context, scope, report, progress)
        _prune(context, scope, report)
        retired = _retired(context, scope)
        if dry_run:
            for path in retired:
                report.parts[_part(context, path)].waiting += 1
            return report
        waiting, removed = retire(context, retired)
        for path in waiting:
            report.parts[_part(context, path)].waiting += 1
        for path, num_bytes in removed.items():
            part = report.parts[_part(context, path)]
            part.removed += 1
            part.bytes_removed += num_bytes
        audit.record(
            context,
            "maintain",
            ds=report.ds,
            earliest_recomputable=earliest,
            removed=len(removed),
            waiting=len(waiting),
        )
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


def _merge(context: Context, scope: Scope, report: MaintenanceReport, progress: Progress) -> None:
    jobs = [
        *(
            (modality.name, StatePart.EVENTS, partial(compact_events, context, scope, modality))
            for modality in context.settings.modalities
        ),
        *(
            (_name(root), _part(context, root), partial(compact_buckets, context, scope, root))
            for root in roots(context)
        ),
        ("texts", StatePart.TEXTS, partial(_compact_texts, context)),
    ]
    for done, (label, part, job) in enumerate(jobs):
        progress(f"merging {label}", done, len(jobs))
        job(report.parts[part], report.dry_run)


def _compact_texts(context: Context, part: Part, dry_run: bool) -> None:
    vectors = text_vectors(context)
    small = vectors.small()
    if len(small) <= SMALL_SEGMENTS:
        return
    part.merged += len(small)
    part.made += 1
    if not dry_run:
        with crash_point("merged_texts"):
            vectors.merge(small)


def _prune(context: Context, scope: Scope, report: MaintenanceReport) -> None:
    """Remove the reports of old days, which no window reads, at once."""
    for name, first in ((StatePart.CHANGES, scope.earliest_recomputable), (StatePart.REJECTED, scope.rejected)):
        for directory in _days_before(context, name, first):
            files = [path for path in Path(directory).rglob("*") if path.is_file()]
            part = report.parts[name]
            part.dropped += len(files)
            if not report.dry_run:
                part.removed += len(files)
                part.bytes_removed += sum(path.stat().st_size for path in files)
                with crash_point("pruned"):
                    partitions.remove(directory)


def _days_before(context: Context, part: str, first: date | None) -> list[str]:
    if first is None:
        return []
    modalities = [context.layout.path(part, name) for name in partitions.list_names(context.layout.path(part))]
    return [
        partitions.filesystem(partitions.join(root, day))[1]
        for root in modalities
        for day in partitions.list_names(root)
        if day.startswith("ds=") and day < f"ds={first.isoformat()}"
    ]


def _retired(context: Context, scope: Scope) -> list[str]:
    """All files that nobody reads any more and that only lie there for those who have listed them."""
    return [
        *(path for modality in context.settings.modalities for path in unnamed_files(context, scope, modality)),
        *(path for root in roots(context) for path in contained_files(root)),
        *text_vectors(context).covered(),
        *(path for part in PARTS for path in temporary_files(context, part)),
    ]


def _part(context: Context, path: str) -> str:
    return context.layout.part_of(path)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[1]
