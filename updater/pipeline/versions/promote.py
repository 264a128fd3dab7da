"""Promote: give a model version the rows it would have if it had always been live, check them, and make it live.

Whether it may become live is decided in the ledger, by compare-and-swap: only if nothing was published since the rows
were made. Until then the version's feature views grow beside the live ones, and nobody who reads those notices.
"""

import logging
from dataclasses import dataclass, replace
from datetime import date
from os import environ
from pathlib import Path

from updater.domain import columns
from updater.errors import (
    ConcurrentUpdateError,
    ConfigError,
    UnfinishedWorkError,
    VerificationError,
    WindowOrderError,
)
from updater.ledger import ModelRecord, Published
from updater.pipeline.monitor import audit
from updater.pipeline.monitor.verify import verify
from updater.pipeline.monitor.verify_compare import raise_if_different
from updater.pipeline.versions.backfill import WINDOWS_PER_QUERY, VersionBackfill, backfill_buckets, find_missing_rows
from updater.pipeline.versions.registry import check_model, model_version, register_model
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.state_lock import Lock, StateLock
from updater.runtime.timing import Stopwatch
from updater.state.bucket_files import all_files
from updater.state.event_store import connect

logger = logging.getLogger(__name__)

VERIFIED_USERS = 100
"""Users whose newest values are compared with a rebuild from the lake before a version becomes live."""


@dataclass(frozen=True)
class PromotionReport:
    """What a promotion did, or with `dry_run` would do."""

    version: int
    model: str
    former: str
    """The version that was live."""
    dry_run: bool = False
    already_live: bool = False
    windows: int = 0
    """Completed windows from the first day on."""
    prefixes: int = 0
    """User prefixes computed to make the rows that the version was missing."""
    rows: int = 0
    """Offline rows written."""
    online_rows: int = 0
    """Rows loaded into the online store."""
    verified_users: int = 0


def resolve_model(context: WritableContext, version: int | None, directory: str | None) -> ModelRecord:
    """The version of that number, or the model in `directory`, which becomes one.

    Raises:
        ConfigError: there is no such version, or the model does not fit.
    """
    if version is not None:
        return model_version(context, version)
    name = Path(directory or "").resolve()
    return register_model(context, name, name.name, trained=True)


def expected_model(context: Context, version: int | None, directory: str | None) -> ModelRecord:
    """What `resolve_model` would return. Raises as it does, and registers nothing."""
    if version is not None:
        return model_version(context, version)
    digest = check_model(context.settings, Path(directory or "").resolve())
    models = context.ledger.models()
    for known in models:
        if known.digest == digest:
            return known
    number = 1 + max((known.version for known in models), default=0)
    return replace(context.live_model(), version=number, digest=digest, name=f"v{number}-{digest[:8]}", live=False)


def plan_promotion(context: Context, model: ModelRecord, from_date: date | None) -> PromotionReport:
    """What a promotion would have to make; changes nothing."""
    report = PromotionReport(model.version, model.name, context.live_model().name, dry_run=True)
    seen = context.ledger.published()
    if seen.live == model.version:
        return replace(report, already_live=True)
    _check_state(context, seen)
    job = _job(context, model, seen, from_date)
    prefixes = rows = 0
    with connect(context.settings.paths.state) as connection:
        for bucket in range(context.settings.buffer.num_buckets):
            for missing in find_missing_rows(context, connection, job, [bucket]):
                prefixes += len(missing.users)
                rows += missing.num_rows
    return replace(report, windows=_num_windows(job), prefixes=prefixes, rows=rows)


def promote(
    context: WritableContext,
    pool: ProcessPool,
    model: ModelRecord,
    from_date: date | None,
    progress: Progress = no_progress,
) -> PromotionReport:
    """Make `model` live, after its feature views have all rows. Resumable: run it again after a crash.

    Args:
        context: the deployment.
        pool: what computes.
        model: a version of this state.
        from_date: landing day from which on the version has all rows; the first that can be computed if left out. Of
            the days before it gets each user's newest row, because that still counts.
        progress: called as work is done.

    Raises:
        ConfigError: days from `from_date` on were dropped.
        VerificationError: the version's rows differ from a rebuild, or online from offline. The live version stays.
        UnfinishedWorkError: a window or a restatement is under way.
        WindowOrderError: the config changed since the last window.
        ConcurrentUpdateError: another version became live meanwhile, or days were dropped.
    """
    watch = Stopwatch()
    report = PromotionReport(model.version, model.name, context.live_model().name)
    while True:
        seen = context.ledger.published()
        if seen.live == model.version:
            return replace(report, already_live=True)
        _check_state(context, seen)
        job = _job(context, model, seen, from_date)
        made = _make(context, pool, job, progress)
        report = replace(
            report,
            windows=_num_windows(job),
            prefixes=report.prefixes + made.prefixes,
            rows=report.rows + made.rows,
            online_rows=made.online_rows,
        )
        if job.windows:
            verified_users = _verified_users(context, model, seen, progress)
            if verified_users is None:
                continue
            report = replace(report, verified_users=verified_users)
        done = {"windows": report.windows, "prefixes": report.prefixes, "rows": report.rows}
        subject = {"version": model.version, "model": model.name, "former": report.former, **done}
        with crash_point("promoted"):
            is_live = seen.is_idle and context.ledger.promote_model(
                model.version, seen, job.generation, subject, audit.actor(environ), context.time()
            )
        if is_live:
            logger.info(
                "promoted %s in the place of %s: %d prefixes, %d rows, %d online, %.1f s",
                report.model,
                report.former,
                report.prefixes,
                report.rows,
                report.online_rows,
                watch.seconds,
            )
            return report
        _check_moved(seen, context.ledger.published())


def _check_state(context: Context, seen: Published) -> None:
    if context.ledger.restatement() is not None:
        raise UnfinishedWorkError(
            f"A restatement was started but not finished; run `updater backfill --from-date {context.first_window()} "
            f"--to-date {seen.watermark} --restate` before promoting.",
            kind="restatement",
        )
    for head in seen.heads.values():
        if head.scenarios != context.published_fingerprints() or head.modalities != context.modality_fingerprints():
            raise WindowOrderError(
                f"Scenarios or modalities changed after {head.ds}; run the next window before promoting."
            )


def _check_moved(seen: Published, now: Published) -> None:
    """Something has to have moved, for another try to make sense."""
    if now.live != seen.live:
        raise ConcurrentUpdateError(
            f"Model version {now.live} became live meanwhile; run the same command again.", cause="promotion"
        )
    if now == seen:
        ahead = max(head.ds for head in now.heads.values())
        raise UnfinishedWorkError(
            f"The window {ahead} is in progress; when it is done, run the same command again.", kind="window", ds=ahead
        )


def _job(context: Context, model: ModelRecord, seen: Published, from_date: date | None) -> VersionBackfill:
    earliest = context.ledger.earliest_recomputable() or date.min
    if from_date is not None and from_date < earliest:
        raise ConfigError(
            f"Days before {earliest} were dropped (see [retention]); promote --from-date {earliest} or later."
        )
    completed = sorted(window.ds for window in context.ledger.windows() if window.completed_at is not None)
    windows = tuple(context.window(ds) for ds in completed if seen.watermark is not None and ds <= seen.watermark)
    # A later file of a merged file's days counts only under a higher generation.
    generations = [head.generation for head in seen.heads.values()] + [
        file.generation
        for scenario in context.settings.scenarios
        for file in all_files(context.layout.offline(columns.scenario_view(scenario.name, model.version)))
        if file.kind != "ds"
    ]
    return VersionBackfill(
        model=model,
        live=context.live_model().version,
        windows=windows,
        from_date=from_date or earliest,
        generation=1 + max(generations, default=0),
    )


def _num_windows(job: VersionBackfill) -> int:
    return sum(window.ds >= job.from_date for window in job.windows)


@dataclass(frozen=True)
class _Made:
    prefixes: int
    rows: int
    online_rows: int


def _make(context: WritableContext, pool: ProcessPool, job: VersionBackfill, progress: Progress) -> _Made:
    """Register the version's views, write its missing rows, and load the online store."""
    from updater.store.access import materialize
    from updater.store.definitions import apply
    from updater.store.repository.connecting import open_store

    with crash_point("views"):
        apply(context.settings, [job.live, job.model.version])
    buckets = range(context.settings.buffer.num_buckets)
    done = prefixes = rows = online_rows = 0
    for group, counts in backfill_buckets(pool, job, buckets):
        done += len(group)
        progress(f"computing {job.model.name}", done, len(buckets))
        prefixes += counts["prefixes"]
        rows += counts["rows"]
    own = context.model_views(job.model.version)
    store = open_store(context.settings)
    for start in range(0, len(job.windows), WINDOWS_PER_QUERY):
        progress("materializing", start, len(job.windows))
        part = job.windows[start : start + WINDOWS_PER_QUERY]
        # So that no erased user's row, read before the erasure, comes online after it.
        with crash_point("materialized"), StateLock(context, Lock.REWRITING).shared():
            online_rows += sum(materialize(store, part[-1], own, first=part[0]).values())
    return _Made(prefixes, rows, online_rows)


def _verified_users(context: Context, model: ModelRecord, seen: Published, progress: Progress) -> int | None:
    """Compare a sample of users; how many they are, or None if a window came in between, which the version has no
    rows of yet.

    Raises:
        VerificationError: something differs though nothing came in between.
    """
    try:
        verification = verify(context, VERIFIED_USERS, progress, model)
    except ConcurrentUpdateError:
        return None
    if verification.differences and context.ledger.published() != seen:
        return None
    try:
        raise_if_different(verification)
    except VerificationError as error:
        raise VerificationError(
            f"Model version {model.version} is not live: {error}", findings=error.findings
        ) from None
    return verification.users
