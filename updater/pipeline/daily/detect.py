"""Detect: which users of a modality changed in a window, and why; kept for the processes that refresh them.

Comparing a landed day with the buffer needs the landed days before it.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial

import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.domain.window import Window
from updater.pipeline.changes import read_changes
from updater.pipeline.daily.intake.land import into_state
from updater.pipeline.daily.plan import ModalityPlan, WindowPlan, plan_changes
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.timing import Stopwatch

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
    context: WritableContext,
    window: Window,
    modality: Modality,
    progress: Progress = no_progress,
    pool: ProcessPool | None = None,
) -> ModalityPlan:
    """Land the window's partition of a modality and write down which users changed.

    The first window ever lands every day that its buffer reaches back to. Run again, it does nothing that is done.

    Args:
        context: the deployment.
        window: the window.
        modality: what to detect changes of.
        progress: called as days are landed.
        pool: the processes that compare shards with the buffer; this process does it if left out.

    Raises:
        NotLandedError: the day has no `_SUCCESS` and the modality is not optional.
        DataRefusedError: the partition's schema is wrong, or too much of it is rejected.
    """
    watch = Stopwatch()
    land = partial(into_state, context)
    plan = plan_changes(context, window, land, pool, progress, modalities=[modality])
    log_changes(plan, watch)
    return plan.modalities[0]


def log_changes(plan: WindowPlan, watch: Stopwatch) -> None:
    """Say what was detected."""
    for modality in plan.modalities:
        logger.info(
            "detected %s of %s: %d rows, %d rejected, %d changed users, %.1f s",
            modality.modality,
            plan.window,
            modality.rows,
            modality.rejected,
            modality.changed_users,
            watch.seconds,
        )


def detected(context: Context, window: Window, modality: Modality) -> Detected:
    """What detect found in a window that has been detected."""
    record = context.ledger.partition(modality.name, window.ds)
    reasons: Counter[str] = Counter()
    users = 0
    for shard in context.shards:
        changes = read_changes(context, window, modality.name, context.shards.buckets(shard))
        for reason, count in zip(changes["reason"].to_pylist(), changes["num_events"].to_pylist(), strict=True):
            reasons[reason] += count
        users += len(pc.unique(changes["user_id"]))
    if record is None:
        return Detected(modality.name, 0, 0, users, dict(reasons), landed=False)
    return Detected(modality.name, record.num_rows, record.num_rejected, users, dict(reasons), record.num_erased)
