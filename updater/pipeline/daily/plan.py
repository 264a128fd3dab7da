"""The plan of a window: what it takes in, whom that changes and why, which texts are new, what each bucket has to do.

One function makes it, for who runs the window and for who only wants to know. They differ in where days are landed that
have not landed yet, and where it is written down who changed. A run executes the plan: it keeps the changes for the
processes that refresh buckets, encodes the texts, and refreshes each bucket by its plan (docs/architecture.md).
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.domain.erasure import Erased
from updater.domain.plan import BucketPlan, new_scenarios, plan_bucket
from updater.domain.window import Window
from updater.lake import partitions
from updater.ledger import Head
from updater.pipeline.changes import changes_file
from updater.pipeline.daily.intake.admission import landing_days
from updater.pipeline.daily.intake.encode import NewTexts, find_new_texts
from updater.pipeline.daily.intake.land import Land, check_kept, is_published
from updater.pipeline.daily.shard_changes import Part, find_changes, sum_reasons
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import text_vectors
from updater.state import summaries as summary_store
from updater.state.bucket_files import bucket_files
from updater.state.event_store import EventFile

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
    changed_users: int
    reasons: Mapping[str, int]
    """Events by reason."""
    changes: Sequence[str]
    """Per shard the file with who changed."""
    texts: NewTexts
    """Those that no modality before it has either."""


@dataclass(frozen=True)
class WindowPlan:
    """What a window does."""

    window: Window
    modalities: Sequence[ModalityPlan] = field(default_factory=list)
    changed_users: int = 0
    """Users with a change in any modality."""

    def changes(self, shard: int) -> Changes:
        """Who of a shard changed, per modality."""
        return {plan.modality: partitions.read_table(plan.changes[shard]) for plan in self.modalities}


def plan_changes(
    context: Context,
    window: Window,
    land: Land,
    pool: ProcessPool | None = None,
    progress: Progress = no_progress,
    in_lake: Mapping[str, Collection[date]] | None = None,
    modalities: Sequence[Modality] = (),
    scratch: str = "",
) -> WindowPlan:
    """Plan a window: land its days, and write down who changed.

    Args:
        context: the deployment.
        window: the window; the days before it have been detected.
        land: lands the days that it takes in.
        pool: the processes that compare shards with the buffer; this one if left out.
        progress: called as days are landed.
        in_lake: days of each modality that the lake has, if somebody listed them.
        modalities: what to plan; all if empty.
        scratch: directory for who changed; if empty, it is written down in the state. What values of a published bucket
            rest on stays as it is.

    Raises:
        NotLandedError: a day has no `_SUCCESS` and its modality is not optional.
        DataRefusedError: a partition's schema is wrong, or too much of it is rejected.
        WindowOrderError: what the plan takes has been dropped.
    """
    vectors = text_vectors(context)
    is_first = context.first_window() in (None, window.ds)
    taken = [
        _take_in(context, window, modality, land, is_first, progress, in_lake.get(modality.name) if in_lake else None)
        for modality in modalities or context.settings.modalities
    ]
    shards = [[_part(context, window, each, shard, scratch) for each in taken] for shard in context.shards]
    if not all(part.is_kept for parts in shards for part in parts):
        check_kept(context, window)
    found = list(find_changes(pool, context.settings, window.ds, is_first, shards))
    plans: list[ModalityPlan] = []
    for number, each in enumerate(taken):
        brought = [file for ds, files in each.files.items() if is_first or ds == window.ds for file in files]
        name = each.modality.name
        texts = find_new_texts(brought, vectors, [plan.texts for plan in plans])
        _warn_of_identifiers(each.modality, each.rows - each.rejected, texts.texts.num_rows)
        plans.append(
            ModalityPlan(
                modality=name,
                days=each.days,
                rows=each.rows,
                rejected=each.rejected,
                changed_users=sum(shard.by_modality[name] for shard in found),
                reasons=sum_reasons(found, name),
                changes=[parts[number].path for parts in shards],
                texts=texts,
            )
        )
    return WindowPlan(window, plans, sum(shard.changed_users for shard in found))


@dataclass(frozen=True)
class _Taken:
    """What a window takes in of a modality."""

    modality: Modality
    days: Sequence[date]
    rows: int
    rejected: int
    files: Mapping[date, Sequence[EventFile]]
    """Of all landed days up to the window's: one per shard, or none without rows."""


def _take_in(
    context: Context,
    window: Window,
    modality: Modality,
    land: Land,
    is_first: bool,
    progress: Progress,
    in_lake: Collection[date] | None,
) -> _Taken:
    """Land what a window takes in. The first window ever takes in every day that its buffer reaches back to."""
    if is_first and in_lake is None:
        in_lake = partitions.landed_days(partitions.join(context.settings.paths.lake, modality.name))
    wanted = dict.fromkeys([*(landing_days(context, window, modality, in_lake or ()) if is_first else []), window.ds])
    files: dict[date, Sequence[EventFile]] = {
        ds: list(group)
        for ds, group in groupby(context.event_files(modality.name, window.ds), key=lambda file: file.ds)
    }
    days, rows, rejected = [], 0, 0
    for done, ds in enumerate(wanted):
        if is_first:
            progress(f"landing {modality.name}", done, len(wanted))
        landed = land(ds, modality, in_lake)
        if landed is None:
            continue
        days.append(ds)
        rows, rejected = rows + landed.num_rows, rejected + landed.num_rejected
        files[ds] = landed.files
    return _Taken(modality, days, rows, rejected, files)


def _part(context: Context, window: Window, taken: _Taken, shard: int, scratch: str) -> Part:
    """What is to be compared of a modality in a shard."""
    name, path = taken.modality.name, changes_file(context, window, taken.modality.name, shard)
    is_kept = is_published(context, window.ds) and partitions.exists(path)
    if scratch and not is_kept:
        path = f"{scratch}/{name}-changes-{shard}.parquet"
    files = [files[shard] for files in taken.files.values() if files]
    return Part(name, files, path, is_kept)


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
