"""What a window would do, without doing it: nothing is written to state, ledger or stores."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.modality import Modality
from updater.domain.plan import new_scenarios
from updater.domain.window import Window
from updater.lake import partitions
from updater.lake.landing import check_rejected_share
from updater.pipeline.daily.admission import check_landed, check_modalities, check_order, landing_days
from updater.pipeline.daily.window import check_previous, missing_days
from updater.pipeline.restate.changed_partitions import check_recomputable, find_rewritten
from updater.runtime.deployment import Context
from updater.runtime.session import text_vectors
from updater.state import summaries as summary_store
from updater.state.bucket_files import bucket_files
from updater.state.event_store import Buffer, EventFile, connect

SHOWN_USERS = 20
TIMED = frozenset({"detect", "encode", "refresh", "publish", "materialize"})
"""The steps whose seconds make a window's cost. Where one of them was not timed for the window alone, as in a backfill,
the rest would say too little.
"""


@dataclass
class DryRun:
    """The plan of one window."""

    ds: str
    already_done: bool = False
    modalities: list[dict[str, Any]] = field(default_factory=list)
    """Per modality: rows, rejected rows, changed users, events by reason, texts to encode."""
    changed_users: int = 0
    backfill_users: int = 0
    """Users without changes whose prefix is needed for a new or changed scenario."""
    prefixes: int = 0
    texts_to_encode: int = 0
    estimated_seconds: float | None = None
    """At the rate of the window `estimated_from`; None before there is one."""
    estimated_from: str | None = None
    """The newest committed window all of whose steps were timed."""
    users: list[dict[str, str]] = field(default_factory=list)
    """The first changed users, with modality and reason."""


def plan_window(context: Context, ds: date) -> DryRun:
    """Plan one window. Raises what running it would raise before it changes anything."""
    window = context.window(ds)
    report = DryRun(str(window))
    record = context.ledger.window(ds)
    if record is not None and record.completed_at is not None:
        report.already_done = True
        return report
    check_modalities(context)
    check_previous(context, window)
    check_order(context, window)
    check_landed(context, window)
    changed: set[str] = set()
    texts: set[bytes] = set()
    with TemporaryDirectory(prefix="updater-plan-") as scratch:
        for modality in context.settings.modalities:
            _plan_modality(context, window, modality, scratch, report, changed, texts)
    report.changed_users, report.texts_to_encode = len(changed), len(texts)
    report.backfill_users = len(_backfill_users(context, changed))
    report.prefixes = report.changed_users + report.backfill_users
    _estimate(context, report)
    return report


def _plan_modality(
    context: Context,
    window: Window,
    modality: Modality,
    scratch: str,
    report: DryRun,
    changed: set[str],
    texts: set[bytes],
) -> None:
    settings = context.settings
    first = context.first_window() in (None, window.ds)
    files = {file.ds: file for file in context.event_files(modality.name, window.ds) if file.ds < window.ds}
    wanted = [*(landing_days(context, window, modality) if first else []), window.ds]
    rows = rejected = 0
    arrived = []
    for ds in wanted:
        directory = context.lake(modality.name, ds)
        if not partitions.has_landed(partitions.join(settings.paths.lake, modality.name), ds):
            continue
        landed = context.landed(modality, ds)
        check_rejected_share(landed, directory, settings.limits)
        rows, rejected = rows + landed.num_rows, rejected + landed.rejected.num_rows
        files[ds] = EventFile(ds, f"{scratch}/{modality.name}-{ds}.parquet")
        partitions.write_table(files[ds].path, landed.events)
        arrived.append(landed.events.filter(pc.invert(landed.events["deleted"])).select(["text_id"]))
    with connect(settings.paths.state) as connection:
        buffer = Buffer(connection, modality, list(files.values()), settings.buffer.days, settings.timezone)
        changes = buffer.everyone(window) if first else buffer.changes(window)
    reasons: Counter[str] = Counter()
    for user, reason, count in zip(
        *(changes[name].to_pylist() for name in ("user_id", "reason", "num_events")), strict=True
    ):
        reasons[reason] += count
        changed.add(user)
        if len(report.users) < SHOWN_USERS:
            report.users.append({"user_id": user, "modality": modality.name, "reason": reason})
    if arrived:
        ids = pc.unique(pa.concat_tables(arrived)["text_id"])
        new = set(ids.filter(text_vectors(context).unknown(ids)).to_pylist())
        texts |= new
    report.modalities.append(
        {
            "modality": modality.name,
            "rows": rows,
            "rejected": rejected,
            "changed_users": len(pc.unique(changes["user_id"])),
            "reasons": dict(reasons),
            "texts_to_encode": len(new) if arrived else 0,
        }
    )


def _backfill_users(context: Context, changed: set[str]) -> set[str]:
    found: set[str] = set()
    for bucket, head in context.ledger.heads().items():
        same_layout = head.modalities == context.modality_fingerprints()
        if new_scenarios(context.scenario_fingerprints(), head.scenarios, same_layout):
            with connect(context.settings.paths.state) as connection:
                found |= set(summary_store.read_users(connection, bucket_files(context.layout.summaries(), bucket)))
    return found - changed


def _estimate(context: Context, report: DryRun) -> None:
    for window in context.ledger.windows():
        seconds, prefixes = window.counts.get("seconds", {}), window.counts.get("prefixes", 0)
        if window.completed_at is not None and seconds.keys() >= TIMED and prefixes:
            rate: float = sum(seconds.values()) / prefixes
            report.estimated_seconds = round(rate * max(report.prefixes, 1), 1)
            report.estimated_from = window.ds.isoformat()
            return


@dataclass
class BackfillPlan:
    """The windows that a backfill would run, and what it would restate."""

    days: list[str]
    not_landed: list[str]
    """Days among them that have not landed; the backfill would stop at the first."""
    rewritten: list[str] = field(default_factory=list)
    """Partitions that would be restated."""
    affected_users: int = 0
    """Users with rows in those partitions: at most so many are recomputed."""
    affected_days: int = 0


def plan_backfill(context: Context, from_date: date, to_date: date, restate: bool) -> BackfillPlan:
    """Plan a backfill; both dates are inclusive."""
    missing = missing_days(context, from_date, to_date)
    required = [m.name for m in context.settings.modalities if not m.optional]
    lake = context.settings.paths.lake
    absent = [
        ds for ds in missing if not all(partitions.has_landed(partitions.join(lake, name), ds) for name in required)
    ]
    plan = BackfillPlan([ds.isoformat() for ds in missing], [ds.isoformat() for ds in absent])
    watermark, first_window = context.ledger.watermark(), context.first_window()
    if not restate or watermark is None or first_window is None:
        return plan
    users: set[str] = set()
    first = watermark
    for modality, ds, _ in find_rewritten(context, from_date, to_date):
        check_recomputable(context, modality, ds)
        landed = context.landed(modality, ds)
        users |= set(landed.events["user_id"].to_pylist())
        first = min(first, max(ds, first_window))
        plan.rewritten.append(f"{modality.name} {ds}")
    plan.affected_users = len(users)
    plan.affected_days = (watermark - first).days + 1 if plan.rewritten else 0
    return plan
