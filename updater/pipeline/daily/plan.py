"""The plan of a window: what it takes in, whom that changes and why, which texts are new, what each bucket has to do.

One function makes it, for who runs the window and for who only wants to know. They differ in where days are landed that
have not landed yet. A run executes the plan: it keeps the changes for the processes that refresh buckets, encodes the
texts, and refreshes each bucket by its plan (docs/architecture.md).
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.domain.erasure import Erased
from updater.domain.plan import BucketPlan, new_scenarios, plan_bucket
from updater.domain.window import Window
from updater.lake import partitions
from updater.ledger import Head
from updater.pipeline.changes import read_changes
from updater.pipeline.daily.intake.admission import landing_days
from updater.pipeline.daily.intake.encode import NewTexts, find_new_texts
from updater.pipeline.daily.intake.land import Land, check_kept, is_published
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.session import text_vectors
from updater.state import summaries as summary_store
from updater.state.bucket_files import bucket_files
from updater.state.event_store import CHANGES_SCHEMA, Buffer
from updater.state.text_vectors import TextVectors

logger = logging.getLogger(__name__)

MANY_TEXTS = 1000
"""So few are encoded in seconds, whatever they are."""
Changes = Mapping[str, pa.Table]
"""Per modality who changed and why: `CHANGES_SCHEMA`, one row per user and reason."""


@dataclass(frozen=True)
class ModalityPlan:
    """What a window does in one modality."""

    modality: str
    days: Sequence[date]
    """Landed days that the window takes in."""
    rows: int
    """Rows of these days."""
    rejected: int
    changes: pa.Table
    """`CHANGES_SCHEMA`."""
    texts: NewTexts
    """Those that no modality before it has either."""

    @property
    def changed_users(self) -> int:
        """Users with a change."""
        return len(pc.unique(self.changes["user_id"]))

    @property
    def reasons(self) -> dict[str, int]:
        """Events by reason."""
        counted: Counter[str] = Counter()
        for reason, count in zip(*(self.changes[name].to_pylist() for name in ("reason", "num_events")), strict=True):
            counted[reason] += count
        return dict(counted)


@dataclass(frozen=True)
class WindowPlan:
    """What a window does."""

    window: Window
    modalities: Sequence[ModalityPlan] = field(default_factory=list)

    @property
    def changes(self) -> Changes:
        """Who changed, per modality."""
        return {plan.modality: plan.changes for plan in self.modalities}

    @property
    def changed_users(self) -> int:
        """Users with a change in any modality."""
        names = [plan.changes["user_id"] for plan in self.modalities]
        return len(pc.unique(pa.chunked_array([chunk for column in names for chunk in column.chunks], pa.string())))


def plan_changes(
    context: Context,
    window: Window,
    land: Land,
    connection: duckdb.DuckDBPyConnection,
    progress: Progress = no_progress,
    in_lake: Mapping[str, Collection[date]] | None = None,
) -> WindowPlan:
    """Plan a window.

    Args:
        context: the deployment.
        window: the window; the days before it have been detected.
        land: lands the days that it takes in.
        connection: DuckDB over the state.
        progress: called as days are landed.
        in_lake: days of each modality that the lake has, if somebody listed them.

    Raises:
        NotLandedError: a day has no `_SUCCESS` and its modality is not optional.
        DataRefusedError: a partition's schema is wrong, or too much of it is rejected.
        WindowOrderError: what the plan takes has been dropped.
    """
    vectors = text_vectors(context)
    plans: list[ModalityPlan] = []
    for modality in context.settings.modalities:
        listed = in_lake.get(modality.name) if in_lake else None
        known = [plan.texts for plan in plans]
        plans.append(plan_modality(context, window, modality, land, connection, vectors, progress, listed, known))
    return WindowPlan(window, plans)


def plan_modality(
    context: Context,
    window: Window,
    modality: Modality,
    land: Land,
    connection: duckdb.DuckDBPyConnection,
    vectors: TextVectors,
    progress: Progress = no_progress,
    in_lake: Collection[date] | None = None,
    known: Sequence[NewTexts] = (),
) -> ModalityPlan:
    """Plan one modality. The first window ever takes in every day that its buffer reaches back to.

    Args:
        context: the deployment.
        window: the window.
        modality: what to plan.
        land: lands the days that the window takes in.
        connection: DuckDB over the state.
        vectors: the texts that have a vector.
        progress: called as days are landed.
        in_lake: days of the modality that the lake has, if somebody listed them.
        known: texts that are to be encoded before.
    """
    settings = context.settings
    is_first = context.first_window() in (None, window.ds)
    if is_first and in_lake is None:
        in_lake = partitions.landed_days(partitions.join(settings.paths.lake, modality.name))
    wanted = dict.fromkeys([*(landing_days(context, window, modality, in_lake or ()) if is_first else []), window.ds])
    files = {file.ds: file for file in context.event_files(modality.name, window.ds)}
    days, rows, rejected = [], 0, 0
    for done, ds in enumerate(wanted):
        if is_first:
            progress(f"landing {modality.name}", done, len(wanted))
        landed = land(ds, modality, in_lake)
        if landed is None:
            continue
        days.append(ds)
        rows, rejected = rows + landed.num_rows, rejected + landed.num_rejected
        if landed.file is not None:
            files[ds] = landed.file
        else:
            files.pop(ds, None)
    if is_published(context, window.ds) and partitions.exists(context.layout.changes_file(modality.name, window.ds)):
        changes = read_changes(context, window, modality.name)
    else:
        check_kept(context, window)
        buffer = Buffer(connection, modality, list(files.values()), settings.buffer.days, settings.timezone)
        compared = settings.profile.compared_columns(modality)
        changes = buffer.everyone(window) if is_first else buffer.changes(window, compared=compared)
    brought = [file for ds, file in files.items() if is_first or ds == window.ds]
    texts = find_new_texts(brought, vectors, known)
    _warn_of_identifiers(modality, rows - rejected, texts.texts.num_rows)
    return ModalityPlan(modality.name, days, rows, rejected, changes.cast(CHANGES_SCHEMA), texts)


def _warn_of_identifiers(modality: Modality, rows: int, new_texts: int) -> None:
    """Say that texts do not repeat, before they are encoded: it costs hours, and cannot be changed in a state."""
    if new_texts >= MANY_TEXTS and new_texts > rows / 2:
        logger.warning(
            "%s rows of %s bring %s new texts, each of which is encoded: if an address, a number or a date in %r makes "
            "nearly every row a text of its own, land it as what repeats in it, and begin with a new state.",
            f"{rows:,}",
            modality.name,
            f"{new_texts:,}",
            modality.text,
        )


def bucket_plan(
    context: Context,
    open_connection: Callable[[], duckdb.DuckDBPyConnection],
    changes: Changes,
    bucket: int,
    head: Head | None,
    erased: Erased,
) -> BucketPlan:
    """Who of a bucket has to be recomputed, given what a window changed in each modality; never an `erased` user whose
    files are not rewritten yet.
    """
    changed = {}
    for modality, rows in changes.items():
        users = set(rows.filter(pc.equal(rows["bucket"], bucket))["user_id"].to_pylist())
        changed[modality] = users - erased.among(users)
    # The model may be another one: a version becomes live only with rows of everybody.
    same_layout = head is None or head.modalities == context.modality_fingerprints()
    new = new_scenarios(context.published_fingerprints(), head.scenarios if head else None, same_layout)
    files = bucket_files(context.layout.summaries(), bucket) if new else []
    known = set(summary_store.read_users(open_connection(), files) if new else [])
    known -= erased.among(known)
    return plan_bucket(changed, known, list(context.published_fingerprints()), new)
