"""Restate: partitions that were rewritten after they had been processed, and only the users and days that they touch.

Restated rows have the old `event_timestamp` and a newer `created_timestamp`: a point-in-time read still finds what was
served, and a plain read finds the correction.
"""

import logging
from datetime import date

from updater.domain.window import days
from updater.errors import WindowOrderError
from updater.pipeline.changed_partitions import check_recomputable
from updater.pipeline.daily.intake.encode import encode_files
from updater.pipeline.daily.publishing.publish import materialize
from updater.pipeline.monitor import audit
from updater.pipeline.restate.bucket import restate_buckets
from updater.pipeline.restate.plan import Restatement, drop_plan, load_plan, plan_restatement, save_plan
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.timing import Stopwatch

logger = logging.getLogger(__name__)


def restate_range(
    context: WritableContext, pool: ProcessPool, from_date: date, to_date: date, progress: Progress = no_progress
) -> dict[str, int]:
    """Restate the rewritten partitions of a range (both dates inclusive); empty if there are none."""
    restatement = plan_restatement(context, from_date, to_date)
    if restatement is not None:
        return restate(context, pool, restatement, progress)
    if context.ledger.restatement() is not None and load_plan(context) is None:
        drop_plan(context)  # of one that was killed before it began, or after all was done
    return {}


def restate(
    context: WritableContext, pool: ProcessPool, restatement: Restatement, progress: Progress = no_progress
) -> dict[str, int]:
    """Carry out a restatement. Resumable: run it again after a crash. Returns users, days and values restated."""
    watch = Stopwatch()
    save_plan(context, restatement)
    try:
        # Once more: maintenance looks for the saved plan after it has written down what it is about to drop.
        for record in restatement.records:
            check_recomputable(context, context.settings.modality(record.modality), record.ds)
    except WindowOrderError:
        drop_plan(context)
        raise
    for record in restatement.records:
        with crash_point("partition"):
            context.ledger.record_partition(record, restatement.num_erased)
        modality = context.settings.modality(record.modality)
        files = [file for file in context.event_files(modality.name, record.ds) if file.ds == record.ds]
        encode_files(context, files, pool.encode, modality.name, progress)
    wanted = list(days(restatement.first_day, restatement.last_day))
    buckets = restatement.buckets()
    values = 0
    for done, (_, counts) in enumerate(restate_buckets(pool, restatement, wanted, buckets), start=1):
        progress("restating buckets", done, len(buckets))
        values += counts.get("prefixes", 0)
    for done, ds in enumerate(wanted):
        progress("materializing", done, len(wanted))
        materialize(context, context.window(ds))
    counts = {"users": len(set(restatement.affected["user_id"].to_pylist())), "days": len(wanted), "values": values}
    subject = {"partitions": [f"{r.modality} {r.ds}" for r in restatement.records], **counts}
    audit.record(context, "restate", **subject)
    drop_plan(context)
    logger.info(
        "restated %d partitions: %d values of %d users over %d days, %.1f s",
        len(restatement.records),
        values,
        counts["users"],
        counts["days"],
        watch.seconds,
    )
    return counts
