"""One bucket's part of a restatement: the fold again, for the affected users only, under a later generation."""

import logging
from collections.abc import Iterator, Sequence
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.domain.erasure import Erased
from updater.domain.plan import BucketPlan
from updater.domain.window import Window
from updater.lake import partitions
from updater.ledger import Head
from updater.pipeline.daily.bucket_values import BucketResult, compute, read_buffer, read_stored
from updater.pipeline.daily.publishing.bucket_commit import commit_bucket, outputs_digest
from updater.pipeline.daily.publishing.staging import move_into_place, stage
from updater.pipeline.daily.refresh import tables
from updater.pipeline.restate.plan import Restatement
from updater.runtime.deployment import Context, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool, open_session
from updater.runtime.session import Session
from updater.runtime.timing import Stopwatch
from updater.settings import Settings
from updater.state import embeddings as offline
from updater.state import summaries as summary_store
from updater.state.bucket_files import bucket_files, files_of_day
from updater.state.event_store import Buffer

logger = logging.getLogger(__name__)


def restate_bucket(
    context: WritableContext, session: Session, restatement: Restatement, window: Window, bucket: int
) -> dict[str, int]:
    """Restate one window of a bucket, or find it done. Returns its counts.

    Raises:
        ConcurrentUpdateError: the bucket's head is not where the restatement left it.
    """
    head = context.ledger.head(bucket)
    if head is None:
        return {}
    move_into_place(context, bucket, head.ds)
    if head.generation == restatement.generation and head.ds >= window.ds:
        return {}
    watch = Stopwatch()
    erased = context.ledger.erased()
    users = _users(context, session, restatement, window, bucket, erased)
    plan = BucketPlan({m.name: frozenset(users) for m in context.settings.modalities}, tuple(users), (), ())
    buffered = read_buffer(context, session, window, [bucket], users, context.settings.profile.enabled)
    stored = read_stored(context, session, [bucket], buffered.users)
    [result] = compute(context, session, buffered, stored, [plan])
    made = tables(context, session, window, plan, result, restatement.created, restatement.generation)
    files = stage(context, window.ds, bucket, made)
    before = context.ledger.bucket_record(bucket, window.ds)
    counts = {**(before.counts if before else {}), "prefixes": len(users)}
    new = Head(
        bucket=bucket,
        ds=window.ds,
        digest=outputs_digest(files, restatement.generation),
        generation=restatement.generation,
        model_version=session.model_record.version,
        scenarios=head.scenarios,
        modalities=head.modalities,
    )
    if window.ds == restatement.last_day:
        counts["active_users"] = _active(context, session, bucket, users, result)
    commit_bucket(context, window, head, new, files, counts, len(erased))
    logger.info("restated bucket %d of %s: %d users, %.1f s", bucket, window, len(users), watch.seconds)
    return {"prefixes": len(users)}


def _users(
    context: Context, session: Session, restatement: Restatement, window: Window, bucket: int, erased: Erased
) -> Sequence[str]:
    """Affected users whose value at the window was wrong:
    all on the first day, later those that change or were published then.
    """
    affected = set(restatement.users(bucket))
    affected -= erased.among(affected)
    if window.ds > restatement.first_day:
        affected &= _changed(context, session, window, bucket) | _published(context, window, bucket)
    known = set(summary_store.read_users(session.connection, bucket_files(context.layout.summaries(), bucket)))
    if affected - known:
        # A user without any value so far gets one with the first content, not an empty profile before it.
        affected &= known | _with_content(context, session, window, bucket)
    return sorted(affected)


def _changed(context: Context, session: Session, window: Window, bucket: int) -> set[str]:
    compared = [context.settings.profile.compared_columns(modality) for modality in context.settings.modalities]
    buffers = _buffers(context, session, window, bucket)
    found = [buffer.changes(window, [bucket], names) for buffer, names in zip(buffers, compared, strict=True)]
    return {user for rows in found for user in rows["user_id"].to_pylist()}


def _with_content(context: Context, session: Session, window: Window, bucket: int) -> set[str]:
    found = [buffer.everyone(window, [bucket]) for buffer in _buffers(context, session, window, bucket)]
    return {user for rows in found for user in rows["user_id"].to_pylist()}


def _published(context: Context, window: Window, bucket: int) -> set[str]:
    wanted = [columns.JOIN_KEY, columns.EVENT_TIMESTAMP]
    as_of = pa.scalar(window.as_of.replace(tzinfo=None), offline.TIMESTAMP)
    users: set[str] = set()
    for path in files_of_day(context.layout.offline(columns.SUMMARIES_VIEW), bucket, window.ds):
        rows = partitions.read_table(path, wanted)
        users.update(rows.filter(pc.equal(rows[columns.EVENT_TIMESTAMP], as_of))[columns.JOIN_KEY].to_pylist())
    return users


def _buffers(context: Context, session: Session, window: Window, bucket: int) -> list[Buffer]:
    settings = context.settings
    files = context.all_event_files(window.ds, buckets=[bucket])
    return [
        Buffer(session.connection, m, files[m.name], settings.buffer.days, settings.timezone)
        for m in settings.modalities
    ]


def _active(context: Context, session: Session, bucket: int, users: Sequence[str], result: BucketResult) -> int:
    """Users of the bucket with any event at the end of the restatement."""
    files = bucket_files(context.layout.summaries(), bucket)
    everyone = summary_store.read_active(session.connection, files)
    events = np.sum([summary.num_events_B for summary in result.summaries], axis=0)
    now_active = {user for user, count in zip(result.users, events, strict=True) if count > 0}
    return len((everyone - set(users)) | now_active)


def restate_buckets(
    pool: ProcessPool, restatement: Restatement, days: Sequence[date], buckets: Sequence[int]
) -> Iterator[tuple[int, dict[str, int]]]:
    """Restate `days` in order for `buckets`; yields buckets as they are done, with the counts."""
    jobs = [(pool.settings, pool.now, restatement, list(days), bucket) for bucket in buckets]
    for index, counts in pool.map(_restate_job, jobs):
        yield buckets[index], counts


def _restate_job(
    settings: Settings, now: datetime, restatement: Restatement, days: list[date], bucket: int
) -> dict[str, int]:
    context = open_writable(settings, now)
    session = open_session(context)
    restated = [restate_bucket(context, session, restatement, context.window(ds), bucket) for ds in days]
    return {"prefixes": sum(counts.get("prefixes", 0) for counts in restated)}
