"""What a window would do, read off its plan and not done: nothing is written to state, ledger or stores."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from updater.domain.plan import BucketPlan
from updater.lake import partitions
from updater.pipeline.changed_partitions import check_recomputable, find_rewritten
from updater.pipeline.daily.intake.admission import check_landed, check_modalities, check_order
from updater.pipeline.daily.intake.land import into_scratch
from updater.pipeline.daily.plan import WindowPlan, bucket_plan, plan_changes
from updater.pipeline.daily.window import check_previous, missing_days
from updater.runtime.deployment import Context
from updater.state.event_store import connect

SHOWN_USERS = 20
TIMED = frozenset({"detect", "encode", "refresh", "publish", "materialize"})
"""The steps whose seconds make a window's cost. Airflow times most of them as its tasks, and then the others would show
too little.
"""


@dataclass(frozen=True)
class DryRun:
    """What the plan of one window says."""

    ds: str
    already_done: bool = False
    modalities: Sequence[dict[str, Any]] = field(default_factory=list)
    """Per modality: rows, rejected rows, changed users, events by reason, texts to encode."""
    changed_users: int = 0
    changed_summaries: int = 0
    """User-modality pairs whose summary is recomputed."""
    backfill_users: int = 0
    """Users without changes whose prefix is needed for a new or changed scenario."""
    prefixes: int = 0
    texts_to_encode: int = 0
    estimated_seconds: float | None = None
    """At the rate of the window `estimated_from`; None before there is one."""
    estimated_from: str | None = None
    """The newest committed window all of whose steps were timed."""
    buckets: Sequence[dict[str, int]] = field(default_factory=list)
    """Per bucket with anything to do: its number, changed users, `backfill_users`."""
    users: Sequence[dict[str, str]] = field(default_factory=list)
    """The first changed users, with modality and reason."""


def plan_window(context: Context, ds: date) -> DryRun:
    """Plan one window. Raises what running it would raise before it changes anything."""
    window = context.window(ds)
    record = context.ledger.window(ds)
    if record is not None and record.completed_at is not None:
        return DryRun(str(window), already_done=True)
    check_modalities(context)
    check_previous(context, window)
    check_order(context, window)
    in_lake = check_landed(context, window)
    with TemporaryDirectory(prefix="updater-plan-") as scratch, connect(context.settings.paths.state) as connection:
        land = partial(into_scratch, context, scratch)
        plan = plan_changes(context, window, land, in_lake=in_lake, scratch=scratch)
        return _estimated(context, _dry_run(plan, _buckets(context, plan, connection)))


def _buckets(context: Context, plan: WindowPlan, connection: duckdb.DuckDBPyConnection) -> dict[int, BucketPlan]:
    """What a run has each bucket do, of those that do anything."""
    heads, erased = context.ledger.heads(), context.ledger.erased()
    plans: dict[int, BucketPlan] = {}
    for shard in context.shards:
        changes = plan.changes(shard)
        for bucket in context.shards.buckets(shard):
            plans[bucket] = bucket_plan(context, lambda: connection, changes, bucket, heads.get(bucket), erased)
    return {bucket: planned for bucket, planned in plans.items() if planned.num_prefixes}


def _dry_run(plan: WindowPlan, buckets: dict[int, BucketPlan]) -> DryRun:
    modalities = [
        {
            "modality": modality.modality,
            "rows": modality.rows,
            "rejected": modality.rejected,
            "changed_users": modality.changed_users,
            "reasons": dict(modality.reasons),
            "texts_to_encode": modality.texts.texts.num_rows,
        }
        for modality in plan.modalities
    ]
    first = (
        {"user_id": row["user_id"], "modality": modality.modality, "reason": row["reason"]}
        for modality in plan.modalities
        for path in modality.changes
        for row in partitions.read_table(path).slice(0, SHOWN_USERS).to_pylist()
    )
    return DryRun(
        ds=str(plan.window),
        modalities=modalities,
        changed_users=sum(len(planned.users) for planned in buckets.values()),
        changed_summaries=sum(len(users) for planned in buckets.values() for users in planned.changed.values()),
        backfill_users=sum(len(planned.backfill_users) for planned in buckets.values()),
        prefixes=sum(planned.num_prefixes for planned in buckets.values()),
        texts_to_encode=sum(modality.texts.texts.num_rows for modality in plan.modalities),
        buckets=[
            {"bucket": bucket, "changed_users": len(planned.users), "backfill_users": len(planned.backfill_users)}
            for bucket, planned in buckets.items()
        ],
        users=list(islice(first, SHOWN_USERS)),
    )


def _estimated(context: Context, report: DryRun) -> DryRun:
    for window in context.ledger.windows():
        seconds, prefixes = window.counts.get("seconds", {}), window.counts.get("prefixes", 0)
        if window.completed_at is not None and seconds.keys() >= TIMED and prefixes:
            rate: float = sum(seconds.values()) / prefixes
            return replace(
                report,
                estimated_seconds=round(rate * max(report.prefixes, 1), 1),
                estimated_from=window.ds.isoformat(),
            )
    return report


@dataclass(frozen=True)
class BackfillPlan:
    """The windows that a backfill would run, and what it would restate."""

    days: Sequence[str]
    not_landed: Sequence[str]
    """Days among them that have not landed; the backfill would stop at the first."""
    rewritten: Sequence[str] = field(default_factory=list)
    """Partitions that would be restated."""
    affected_users: int = 0
    """Users with rows in those partitions: at most so many are recomputed."""
    affected_days: int = 0


def plan_backfill(context: Context, from_date: date, to_date: date, restate: bool) -> BackfillPlan:
    """Plan a backfill; both dates are inclusive. Raises WindowOrderError where the range lies before the first window,
    or would leave a gap after the last one, as running it would.
    """
    missing = missing_days(context, from_date, to_date, restated=restate)
    if missing and not restate:
        check_order(context, context.window(missing[0]))
    lake = context.settings.paths.lake
    required = [m.name for m in context.settings.modalities if not m.optional]
    in_lake = [set(partitions.landed_days(partitions.join(lake, name))) for name in required] if missing else []
    absent = [ds for ds in missing if not all(ds in days for days in in_lake)]
    plan = BackfillPlan([ds.isoformat() for ds in missing], [ds.isoformat() for ds in absent])
    watermark, first_window = context.ledger.watermark(), context.first_window()
    if not restate or watermark is None or first_window is None:
        return plan
    rewritten: list[str] = []
    users: set[str] = set()
    first = watermark
    for modality, ds, _ in find_rewritten(context, from_date, to_date):
        check_recomputable(context, modality, ds)
        users |= set(context.landed(modality, ds).events["user_id"].to_pylist())
        first = min(first, max(ds, first_window))
        rewritten.append(f"{modality.name} {ds}")
    if not rewritten:
        return plan
    return replace(plan, rewritten=rewritten, affected_users=len(users), affected_days=(watermark - first).days + 1)
