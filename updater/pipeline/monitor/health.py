"""How the daily job is doing: how fresh, how usual, how clean, how far embeddings moved, and what alerts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from hashlib import md5

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.domain.declared.alerts import Alert, Measured, buckets_to_probe, changed_share, find_alerts, usual_share
from updater.domain.declared.modality import Modality
from updater.domain.window import Window, minute
from updater.errors import NothingCommittedError, VerificationError
from updater.lake import partitions
from updater.pipeline.monitor.online_check import OnlineComparison, compare_online, not_superseded
from updater.runtime.deployment import Context
from updater.state import embeddings as offline
from updater.state import summaries as summary_store
from updater.state.bucket_files import bucket_files
from updater.state.drift import Drift, day_drift
from updater.state.event_store import connect, read_rows

PAST_WINDOWS = 14
"""Windows that say what is usual: two weeks, so that each day of the week counts twice."""
DRIFT_USERS = 2_000
"""Users whose embeddings are compared with their previous ones, at least, if the window has so many."""
MIN_DRIFT_USERS = 20
"""A mean over fewer users says nothing and is no alert."""
ONLINE_USERS = 200
"""Users whose online values are compared with the offline ones."""


@dataclass(frozen=True)
class ModalityHealth:
    """One modality."""

    modality: str
    landed: str | None
    """Newest day of the lake that has landed."""
    processed: str | None
    """Newest day that a window took in."""
    newest_event: str | None
    """Time (UTC) of the newest event that was taken in."""
    days_since_last_event: float | None
    """Days from there to the end of the newest window; None for snapshots, whose times mean nothing."""
    rows: int
    """Rows that landed in the newest window."""
    rejected: int
    rejected_share: float


@dataclass(frozen=True)
class ScenarioHealth:
    """One scenario of the live model."""

    scenario: str
    as_of: str | None
    """Instant (UTC) up to which everything known is in its values; None until a window computes the query."""
    hours_since_as_of: float | None
    compared_users: int
    """Users of the sample whose embedding the newest window changed."""
    day_cosine: float | None
    """Mean cosine of those users' embeddings with their previous ones."""
    mean_shift: float | None
    """Length of the difference between the means of the two."""


@dataclass(frozen=True)
class Health:
    """The newest committed window and what it left behind."""

    ds: str
    as_of: str
    changed_users: int
    active_users: int
    changed_share: float
    usual_changed_share: float | None
    """Median of the windows before it; None where they are too few."""
    modalities: Sequence[ModalityHealth]
    scenarios: Sequence[ScenarioHealth]
    online_values: int | None = None
    """Online values compared with the offline ones; None if that was not asked for."""
    online_mismatches: int | None = None
    alerts: Sequence[Alert] = field(default_factory=list)

    @property
    def mismatch_share(self) -> float | None:
        """Share (0 to 1) of the compared online values that differ."""
        if self.online_values is None or self.online_mismatches is None:
            return None
        return self.online_mismatches / self.online_values if self.online_values else 0.0


def measure(context: Context, online: bool) -> Health:
    """Measure the newest committed window and find which alert thresholds it exceeds; changes nothing.

    Args:
        context: the deployment; its clock is what `hours_since_as_of` is taken from.
        online: compare a sample of the online store with the offline rows as well, which loads Feast.

    Raises:
        NothingCommittedError: no window is committed.
        ServiceUnavailableError: the online store does not answer.
    """
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError(
            "No window is committed yet, so there is nothing to check; run `updater run --ds …`."
        )
    window = context.window(watermark)
    records = context.ledger.bucket_records(watermark)
    with connect(context.settings.paths.state) as connection:
        health = _health(context, connection, window, {r.bucket: r.counts["changed_users"] for r in records})
        if online:
            known = {record.bucket: record.counts["active_users"] for record in records}
            compared = _compare_online(context, connection, window, known)
            health = replace(health, online_values=compared.values, online_mismatches=len(compared.differences))
    return replace(health, alerts=find_alerts(context.settings.alerts, measured(health)))


def measured(health: Health) -> list[Measured]:
    """The values that have thresholds, each with what it was measured on."""
    as_of = f"{minute(health.as_of)} UTC"
    found = []
    hours = {s.scenario: s.hours_since_as_of for s in health.scenarios if s.hours_since_as_of is not None}
    if hours:
        where = f"as_of {as_of} of {', '.join(hours)}"
        found.append(Measured("max_hours_since_as_of", max(hours.values()), where))
    for m in health.modalities:
        if m.days_since_last_event is not None:
            found.append(
                Measured(
                    "max_days_since_last_event",
                    m.days_since_last_event,
                    f"newest event of {m.modality} before {as_of}",
                )
            )
        found.append(Measured("max_rejected_share_window", m.rejected_share, f"rows of {m.modality} on {health.ds}"))
    if health.usual_changed_share is not None:
        factor = health.changed_share / health.usual_changed_share
        where = (
            f"{health.changed_share:.2%} of the users changed on {health.ds}, usually {health.usual_changed_share:.2%}"
        )
        found.append(Measured("max_changed_share_factor", factor, where))
    for s in health.scenarios:
        if s.day_cosine is not None and s.mean_shift is not None and s.compared_users >= MIN_DRIFT_USERS:
            where = f"{s.scenario} embeddings of {s.compared_users:,} users on {health.ds}"
            found += [Measured("min_day_cosine", s.day_cosine, where), Measured("max_mean_shift", s.mean_shift, where)]
    if health.mismatch_share is not None:
        where = f"online store, {health.online_mismatches:,} of {health.online_values:,} values at {health.ds}"
        found.append(Measured("max_mismatch_share", health.mismatch_share, where))
    return found


def raise_on_alert(health: Health) -> None:
    """Raise VerificationError if an alert threshold is exceeded."""
    if health.alerts:
        count = len(health.alerts)
        raise VerificationError(
            f"{count} alert {'threshold is' if count == 1 else 'thresholds are'} exceeded: "
            f"{'; '.join(map(str, health.alerts))}. "
            "docs/operations.md, Watching, says what to look at.",
            findings=[str(alert) for alert in health.alerts],
        )


def _health(context: Context, connection: duckdb.DuckDBPyConnection, window: Window, changed: dict[int, int]) -> Health:
    newest, *past = [record for record in context.ledger.windows() if record.completed_at is not None]
    shares = [changed_share(r.counts["changed_users"], r.counts["active_users"]) for r in (newest, *past)]
    buckets = buckets_to_probe(changed, DRIFT_USERS, window.ds.toordinal())
    return Health(
        ds=str(window),
        as_of=window.as_of.isoformat(),
        changed_users=newest.counts["changed_users"],
        active_users=newest.counts["active_users"],
        changed_share=shares[0],
        # In the first window everybody changed.
        usual_changed_share=usual_share(shares[1:-1][:PAST_WINDOWS]),
        modalities=[_modality(context, modality, window) for modality in context.settings.modalities],
        scenarios=_scenarios(context, connection, window, buckets),
    )


def _modality(context: Context, modality: Modality, window: Window) -> ModalityHealth:
    landed = partitions.newest_landed_day(partitions.join(context.settings.paths.lake, modality.name))
    processed = max((record.ds for record in context.ledger.partitions(modality.name, to_date=window.ds)), default=None)
    record = context.ledger.partition(modality.name, window.ds)
    rows, rejected = (record.num_rows, record.num_rejected) if record else (0, 0)
    event = newest_event(context, modality.name, window.ds)
    is_timed = modality.kind == "stream"
    return ModalityHealth(
        modality=modality.name,
        landed=landed.isoformat() if landed else None,
        processed=processed.isoformat() if processed else None,
        newest_event=event.isoformat() if event else None,
        days_since_last_event=round((window.as_of - event).total_seconds() / 86_400, 3) if event and is_timed else None,
        rows=rows,
        rejected=rejected,
        rejected_share=rejected / rows if rows else 0.0,
    )


def newest_event(context: Context, modality: str, last: date) -> datetime | None:
    """Time (UTC) of the newest event that landed up to day `last`, except deletions; None without events."""
    newest: datetime | None = None
    for file in sorted(context.event_files(modality, last), key=lambda file: file.ds, reverse=True):
        # No event lies behind the end of its landing day.
        if newest is not None and newest >= context.window(file.ds).as_of:
            break
        events = read_rows([file], ["event_time", "deleted"])
        if events is None:
            continue
        time = pc.max(events.filter(pc.invert(events["deleted"]))["event_time"]).as_py()
        if time is not None:
            newest = max(time.replace(tzinfo=UTC), newest or time.replace(tzinfo=UTC))
    return newest


def _scenarios(
    context: Context, connection: duckdb.DuckDBPyConnection, window: Window, buckets: list[int]
) -> list[ScenarioHealth]:
    heads = context.ledger.heads().values()
    version = context.live_model().version
    hours = round((context.now - window.as_of).total_seconds() / 3600, 2)
    found = []
    for name, mark in context.scenario_fingerprints().items():
        is_computed = all(head.scenarios.get(name) == mark for head in heads)
        root = context.layout.offline(columns.scenario_view(name, version))
        files = [path for bucket in buckets for path in bucket_files(root, bucket, window.ds)]
        drift = day_drift(connection, files, name, window.as_of) if is_computed else Drift(0, None, None)
        found.append(
            ScenarioHealth(
                scenario=name,
                as_of=window.as_of.isoformat() if is_computed else None,
                hours_since_as_of=hours if is_computed else None,
                compared_users=drift.users,
                day_cosine=drift.cosine,
                mean_shift=drift.mean_shift,
            )
        )
    return found


def _compare_online(
    context: Context, connection: duckdb.DuckDBPyConnection, window: Window, known: dict[int, int]
) -> OnlineComparison:
    """How a sample of users' online values compares."""
    buckets = buckets_to_probe(known, ONLINE_USERS, window.ds.toordinal())
    published: dict[str, list[pa.Table]] = {view: [] for view in context.feature_views()}
    for bucket in buckets:
        users = summary_store.read_users(connection, bucket_files(context.layout.summaries(), bucket, window.ds))
        users.sort(key=lambda user: md5(user.encode(), usedforsecurity=False).digest()[8:])
        wanted = pa.table({columns.JOIN_KEY: pa.array(users[: -(-ONLINE_USERS // len(buckets))], pa.string())})
        for view, tables in published.items():
            rows = offline.read_newest(context.layout.offline(view), bucket, wanted, window.ds)
            if rows.num_rows:
                tables.append(not_superseded(context, view, bucket, rows))
    return compare_online(context, {view: pa.concat_tables(tables) for view, tables in published.items() if tables})
