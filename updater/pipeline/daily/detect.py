"""Detect: which users of a modality changed in a window, and why; kept for the processes that refresh them.

Comparing a landed day with the buffer needs the landed days before it.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import duckdb
import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.domain.window import Window
from updater.lake import partitions
from updater.pipeline.changes import read_changes
from updater.pipeline.daily.intake.land import into_state, is_published
from updater.pipeline.daily.plan import ModalityPlan, plan_modality
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.session import text_vectors
from updater.runtime.timing import Stopwatch
from updater.state.event_store import connect

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
    connection: duckdb.DuckDBPyConnection | None = None,
) -> ModalityPlan:
    """Land the window's partition of a modality and write down which users changed.

    The first window ever lands every day that its buffer reaches back to. Run again, it does nothing that is done.

    Args:
        context: the deployment.
        window: the window.
        modality: what to detect changes of.
        progress: called as days are landed.
        connection: DuckDB over the state; one is opened, and closed again, if left out.

    Raises:
        NotLandedError: the day has no `_SUCCESS` and the modality is not optional.
        DataRefusedError: the partition's schema is wrong, or too much of it is rejected.
    """
    watch = Stopwatch()
    land, vectors = partial(into_state, context), text_vectors(context)
    with nullcontext(connection) if connection else connect(context.settings.paths.state) as opened:
        plan = plan_modality(context, window, modality, land, opened, vectors, progress)
    save_changes(context, window, [plan], watch)
    return plan


def save_changes(context: WritableContext, window: Window, plans: Sequence[ModalityPlan], watch: Stopwatch) -> None:
    """Write down who changed. What the values of a published bucket rest on stays as it is."""
    for plan in plans:
        path = context.layout.changes_file(plan.modality, window.ds)
        if not is_published(context, window.ds) or not partitions.exists(path):
            with crash_point("changes"):
                partitions.write_table(path, plan.changes)
        logger.info(
            "detected %s of %s: %d rows, %d rejected, %d changed users, %.1f s",
            plan.modality,
            window,
            plan.rows,
            plan.rejected,
            plan.changed_users,
            watch.seconds,
        )


def detected(context: Context, window: Window, modality: Modality) -> Detected:
    """What detect found in a window that has been detected."""
    changes = read_changes(context, window, modality.name)
    record = context.ledger.partition(modality.name, window.ds)
    reasons: Counter[str] = Counter()
    for reason, count in zip(changes["reason"].to_pylist(), changes["num_events"].to_pylist(), strict=True):
        reasons[reason] += count
    users = len(pc.unique(changes["user_id"]))
    if record is None:
        return Detected(modality.name, 0, 0, users, dict(reasons), landed=False)
    return Detected(modality.name, record.num_rows, record.num_rejected, users, dict(reasons), record.num_erased)
