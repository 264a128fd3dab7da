"""Verify: the incremental state against a rebuild, the event files against the lake, and the online store against the
offline rows.

For all users everything is landed again from the lake. For a sample nothing is read that follows the number of users:
its values are rebuilt from its own rows of the event files, and the event files of some days are compared with the lake
(docs/adr/0019-a-sample-costs-a-sample.md).
"""

import logging
from collections.abc import Sequence
from hashlib import md5
from tempfile import TemporaryDirectory

from updater.domain.buckets import bucket_of
from updater.domain.window import Window
from updater.errors import NothingCommittedError
from updater.ledger import ModelRecord, PartitionRecord
from updater.pipeline.changes import read_changes
from updater.pipeline.monitor.undisturbed import undisturbed
from updater.pipeline.monitor.verify_compare import VerifyReport
from updater.pipeline.monitor.verify_lake import partitions_to_compare
from updater.pipeline.monitor.verify_rebuild import Comparison
from updater.pipeline.monitor.verify_sample import Sampler
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import Session
from updater.runtime.threads import one_thread
from updater.runtime.timing import Stopwatch

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5
"""Largest difference of an embedding's component in float32; another type of processor rounds differently."""
LAKE_BYTES = 8 * 2**20
"""Of the lake a sample reads whole partitions, reshuffled each day, up to so many bytes but at least one."""
MANY_ROWS = 200_000
"""Of the lake; fewer are compared in this process before others have imported what it has."""


def verify(
    context: Context,
    sample: int | None,
    progress: Progress = no_progress,
    model: ModelRecord | None = None,
    tolerance: float = TOLERANCE,
    lake_bytes: int = LAKE_BYTES,
) -> VerifyReport:
    """Compare the newest committed window with a rebuild, for `sample` users or for all (None).

    Summaries, textual profiles and the texts' vectors must agree to the bit, embeddings to `tolerance`, online values
    exactly with the offline rows, event files with the lake's partitions.

    Args:
        context: the deployment.
        sample: number of users; None for all.
        progress: called as work is done.
        model: the version whose feature views are compared; the live one if left out.
        tolerance: largest difference of an embedding's component; 0 for an audit: with the same scenarios on the same
            type of processor an embedding does not depend on batch, order, bucket or retry in a single bit.
        lake_bytes: how much of the lake a sample reads; of a smaller lake it reads all.

    Raises:
        NothingCommittedError: no window is committed.
        ConcurrentUpdateError: something differs, and users were erased, a version became live or days were restated
            meanwhile, so that what was compared is no more.
        UnfinishedWorkError: something differs while an erasure has not come to its end.
    """
    watch = Stopwatch()
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError(
            "No window is committed yet, so there is nothing to verify; run `updater run --ds …`."
        )
    window = context.window(watermark)
    with (
        undisturbed(context) as check,
        Session(context, model) as session,
        one_thread(),
        TemporaryDirectory(prefix="updater-verify-") as scratch,
    ):
        comparison = Comparison(context, session, window, Sampler(context, window), tolerance)
        if sample is None:
            records = partitions_to_compare(context, window, None)
            with ProcessPool(context.settings, context.now) as pool:
                report = comparison.everybody(records, pool if _is_worth(pool, records) else None, scratch, progress)
        else:
            report = comparison.sample(sample, lake_bytes, scratch, progress)
        if report.differences:
            check()
    logger.info(
        "verified %d users at %s: %d differences, %.1f s", report.users, window, len(report.differences), watch.seconds
    )
    return report


def verify_recomputed(
    context: Context, window: Window, num_users: int, progress: Progress = no_progress
) -> VerifyReport:
    """Compare a sample of those whom a window recomputed with a rebuild, before the window's values go online.

    The offline rows of the window must be in place; the online store is not looked at. Raises as `verify` does.
    """
    changed = {
        user
        for modality in context.settings.modalities
        for user in read_changes(context, window, modality.name)["user_id"].to_pylist()
    }
    changed -= context.ledger.erased().among(changed)
    chosen: dict[int, list[str]] = {}
    for user in sorted(sorted(changed, key=lambda user: _order(window, user))[:num_users]):
        chosen.setdefault(bucket_of(user, context.settings.buffer.num_buckets), []).append(user)
    with (
        undisturbed(context) as check,
        Session(context) as session,
        one_thread(),
        TemporaryDirectory(prefix="updater-verify-") as scratch,
    ):
        sampler = Sampler(context, window)
        report = Comparison(context, session, window, sampler, TOLERANCE, online=False).users(chosen, scratch, progress)
        if report.differences:
            check()
    return report


def _is_worth(pool: ProcessPool, records: Sequence[PartitionRecord]) -> bool:
    """Whether several processes of this machine, which share a scratch directory, are sooner done with everybody."""
    if pool.settings.run.engine != "processes" or pool.num_processes == 1:
        return False
    return sum(record.num_rows for record in records) > MANY_ROWS


def _order(window: Window, user: str) -> bytes:
    return md5(f"{window.ds} {user}".encode(), usedforsecurity=False).digest()
