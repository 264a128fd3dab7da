"""Refresh: the ordered fold over a bucket's users. New values, offline rows, then the head moves.

Files are staged under names that carry their content's digest. The head then moves by compare-and-swap, which
decides which attempt counts, and only then are the files moved to where Feast reads them. A run killed in between finds
the files and finishes the move.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa

from updater.domain import columns
from updater.domain.plan import BucketPlan
from updater.domain.window import Window
from updater.errors import WindowOrderError
from updater.ledger import BucketRecord, Head
from updater.pipeline.changes import read_changes
from updater.pipeline.daily.bucket_values import BucketResult, compute, read_buffer, read_stored
from updater.pipeline.daily.plan import Changes, bucket_plan
from updater.pipeline.daily.publishing.bucket_commit import commit_bucket, outputs_digest
from updater.pipeline.daily.publishing.staging import move_into_place, stage
from updater.runtime.deployment import Context, WritableContext, day_after, day_before, open_writable
from updater.runtime.process_pool import ProcessPool, open_session
from updater.runtime.session import Session
from updater.runtime.timing import Stopwatch
from updater.settings import Settings
from updater.state import embeddings as offline
from updater.state import summaries as summary_store
from updater.state.layout import SUMMARIES
from updater.state.profiles import profile_rows

logger = logging.getLogger(__name__)

USERS_PER_READ = 4096
"""Users whose event rows (without vectors) a process holds at a time: some hundred bytes per event."""


def refresh_buckets(
    context: WritableContext, session: Session, window: Window, buckets: Sequence[int]
) -> list[dict[str, int]]:
    """Bring buckets from the day before to `window`, or find them done. Returns the counts of each.

    Buckets are read together, as many as the memory bound allows, because opening a buffer's files costs more than a
    bucket's rows.

    Raises:
        WindowOrderError: a bucket's head is not at the day before.
        ConcurrentUpdateError: another attempt published other values, users were erased or a version became live.
    """
    erased = context.ledger.erased()
    changed = lru_cache(maxsize=1)(partial(_changes, context, window))  # neighbours are of one shard
    counts: list[dict[str, int]] = []
    waiting: list[tuple[int, Head | None, BucketPlan]] = []
    heads = context.ledger.heads()
    for bucket in buckets:
        head = heads.get(bucket)
        if head is not None:
            move_into_place(context, bucket, head.ds)
        if (done := _done(context, head, window, bucket)) is not None:
            counts.append(done)
            continue
        _check_order(context, head, window, bucket)
        changes = changed(context.shards.shard(bucket))
        plan = bucket_plan(context, lambda: session.connection, changes, bucket, head, erased)
        if waiting and sum(other.num_prefixes for _, _, other in waiting) + plan.num_prefixes > USERS_PER_READ:
            counts += _refresh_group(context, session, window, waiting, len(erased))
            waiting = []
        waiting.append((bucket, head, plan))
    return counts + _refresh_group(context, session, window, waiting, len(erased))


def _changes(context: Context, window: Window, shard: int) -> Changes:
    """Who of a shard changed, per modality."""
    buckets = context.shards.buckets(shard)
    return {m.name: read_changes(context, window, m.name, buckets) for m in context.settings.modalities}


def _refresh_group(
    context: WritableContext,
    session: Session,
    window: Window,
    planned: Sequence[tuple[int, Head | None, BucketPlan]],
    num_erased: int,
) -> list[dict[str, int]]:
    if not planned:
        return []
    watch = Stopwatch()
    users = [user for _, _, plan in planned for user in (*plan.users, *plan.backfill_users)]
    buckets = [bucket for bucket, _, _ in planned]
    buffered = read_buffer(context, session, window, buckets, users, context.settings.profile.enabled)
    stored = read_stored(context, session, buckets, buffered.users)
    results = compute(context, session, buffered, stored, [plan for _, _, plan in planned])
    opened = context.ledger.window(window.ds)
    created = opened.opened_at if opened else context.now
    before = _records_before(context, [head for _, head, _ in planned if head is not None])
    counts = [
        _publish_bucket(context, session, window, bucket, head, plan, result, created, before.get(bucket), num_erased)
        for (bucket, head, plan), result in zip(planned, results, strict=True)
    ]
    logger.info(
        "refreshed %d buckets (%d to %d) of %s: %d changed users, %d prefixes, %.1f s",
        len(buckets),
        buckets[0],
        buckets[-1],
        window,
        sum(len(plan.users) for _, _, plan in planned),
        len(users),
        watch.seconds,
    )
    return counts


def _publish_bucket(
    context: WritableContext,
    session: Session,
    window: Window,
    bucket: int,
    head: Head | None,
    plan: BucketPlan,
    result: BucketResult,
    created: datetime,
    before: BucketRecord | None,
    num_erased: int,
) -> dict[str, int]:
    """Stage, move the head, place. A faster attempt at the same work leaves nothing to do but to agree."""
    generation = head.generation if head else 0
    made = tables(context, session, window, plan, result, created, generation)
    try:
        files = stage(context, window.ds, bucket, made)
    except FileNotFoundError:
        done = _done(context, context.ledger.head(bucket), window, bucket)
        if done is None:
            raise
        return done
    active = (
        (int(before.counts["active_users"]) if before else 0)
        - result.was_active
        + int(np.count_nonzero(np.sum([s.num_events_B[: result.num_changed] for s in result.summaries], axis=0)))
    )
    counts = {
        "changed_users": result.num_changed,
        "changed_summaries": sum(len(rows) for rows in result.changed_rows.values()),
        "prefixes": len(result.users),
        "active_users": active,
    }
    new = Head(
        bucket=bucket,
        ds=window.ds,
        digest=outputs_digest(files, generation),
        generation=generation,
        model_version=session.model_record.version,
        scenarios=context.published_fingerprints(),
        modalities=context.modality_fingerprints(),
    )
    commit_bucket(context, window, head, new, files, counts, num_erased, accept_superseded=True)
    return counts


def tables(
    context: Context,
    session: Session,
    window: Window,
    plan: BucketPlan,
    result: BucketResult,
    created: datetime,
    generation: int,
) -> dict[str, pa.Table]:
    """What a bucket publishes: feature view (or `summaries`, the state's own) to rows; nothing that is empty."""
    made: dict[str, pa.Table] = {}
    if not result.users:
        return made
    changed = slice(0, result.num_changed)
    version = session.model_record.version
    for position, scenario in enumerate(context.settings.scenarios):
        rows = slice(None) if scenario.name in plan.new_scenarios else changed
        made[columns.scenario_view(scenario.name, version)] = offline.scenario_rows(
            scenario,
            session.model_record.name,
            result.users[rows],
            result.embeddings[rows, position],
            window.as_of,
            created,
        )
    if context.settings.profile.enabled:
        rows = slice(None) if columns.PROFILE in plan.new_scenarios else changed
        profiles = [profile for profile in result.profiles[rows] if profile is not None]
        made[columns.PROFILE_VIEW] = profile_rows(result.users[rows], profiles, window.as_of, created)
    everyone = np.arange(result.num_changed)
    by_modality = {m.name: s.take(everyone) for m, s in zip(context.settings.modalities, result.summaries, strict=True)}
    made[columns.SUMMARIES_VIEW] = offline.summary_rows(
        result.users[changed], by_modality, result.fingerprints[changed], window.as_of, created
    )
    parts = []
    for modality, summary in zip(context.settings.modalities, result.summaries, strict=True):
        rows_of = result.changed_rows[modality.name]
        users = [result.users[row] for row in rows_of]
        parts.append(summary_store.to_table(users, modality.name, summary.take(rows_of), window.ds, generation))
    made[SUMMARIES] = pa.concat_tables(parts).sort_by([("modality", "ascending"), ("user_id", "ascending")])
    return {name: table for name, table in made.items() if table.num_rows}


def _done(context: Context, head: Head | None, window: Window, bucket: int) -> dict[str, int] | None:
    """The counts of a window that the bucket's head has passed; None if it has not."""
    if head is None or head.ds < window.ds:
        return None
    record = context.ledger.bucket_record(bucket, window.ds)
    return dict(record.counts) if record else {}


def _check_order(context: Context, head: Head | None, window: Window, bucket: int) -> None:
    at = head.ds if head else None
    if at == day_before(window.ds) or (at is None and context.first_window() == window.ds):
        return
    first = day_after(at) if at else context.first_window()
    raise WindowOrderError(
        f"Bucket {bucket} is at {at or 'no window yet'}, so {window} would leave a gap; run "
        f"`updater backfill --from-date {first} --to-date {window}`.",
        ds=window.ds,
        bucket=bucket,
        resume_from=first,
    )


def _records_before(context: Context, heads: Sequence[Head]) -> dict[int, BucketRecord]:
    """What was published with `heads`, by bucket."""
    found: dict[int, BucketRecord] = {}
    for ds in {head.ds for head in heads}:
        records = context.ledger.bucket_records(ds, [head.bucket for head in heads if head.ds == ds])
        found.update({record.bucket: record for record in records})
    return found


def refresh_days(
    pool: ProcessPool,
    days: Sequence[date],
    buckets: Sequence[int],
    num_users: int | None = None,
    seconds: Counter[date] | None = None,
) -> Iterator[list[int]]:
    """Walk `days` in order for `buckets`, neighbours together; yields buckets as they are done.

    Args:
        pool: the processes that do it.
        days: days of windows.
        buckets: the buckets to bring there.
        num_users: about how many users changed; None if nobody counted them.
        seconds: what each day takes is added here, summed over processes.
    """
    groups = pool.groups(buckets, num_users)
    jobs = [(pool.settings, pool.now, list(days), group) for group in groups]
    for index, took in pool.map(_refresh_job, jobs):
        if seconds is not None:
            seconds.update(took)
        yield groups[index]


def _refresh_job(settings: Settings, now: datetime, days: list[date], buckets: list[int]) -> dict[date, float]:
    context = open_writable(settings, now)
    session = open_session(context)
    seconds = {}
    for ds in days:
        watch = Stopwatch()
        refresh_buckets(context, session, context.window(ds), buckets)
        seconds[ds] = watch.seconds
    return seconds
