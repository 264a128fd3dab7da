"""The steps as Airflow tasks call them: days and names in, small JSON values out;
`config` is the config file, or None for the one that UPDATER_CONFIG names.
"""

from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.buckets import runs
from updater.domain.window import Window
from updater.lake import partitions
from updater.pipeline.changes import read_changes
from updater.pipeline.compact.run import maintain as maintain_state
from updater.pipeline.daily.detect import detect as detect_changes
from updater.pipeline.daily.intake.admission import open_window
from updater.pipeline.daily.intake.encode import encode as encode_texts
from updater.pipeline.daily.publishing.publish import publish as complete_offline
from updater.pipeline.daily.refresh import refresh_days as walk_buckets
from updater.pipeline.daily.window import finish, missing_days
from updater.pipeline.monitor import prometheus as metrics
from updater.pipeline.monitor import verify as verification
from updater.pipeline.monitor.health import measure, raise_on_alert
from updater.pipeline.monitor.lineage import window_events
from updater.pipeline.monitor.verify_compare import raise_if_different
from updater.runtime import garbage  # noqa: F401  for its effect: a task is a process as short as a command
from updater.runtime.deployment import Context, WritableContext, open_context, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.runtime.timing import StepTimes
from updater.settings import Settings, load_settings

FEW_USERS = 1024
"""Without a language model's layers a user takes two milliseconds, and starting processes five seconds."""


def _context(config: str | None) -> Context:
    return open_context(load_settings(config))


def _writable(config: str | None) -> WritableContext:
    return open_writable(load_settings(config))


def modalities(*, config: str | None = None) -> list[str]:
    """Names of the config's modalities."""
    return [modality.name for modality in load_settings(config).modalities]


def landing_paths(ds: str, *, config: str | None = None) -> list[str]:
    """The `_SUCCESS` files that must exist before the day's window can run."""
    settings = load_settings(config)
    roots = [partitions.join(settings.paths.lake, m.name) for m in settings.modalities if not m.optional]
    return [
        partitions.join(partitions.day_directory(root, date.fromisoformat(ds)), partitions.SUCCESS) for root in roots
    ]


def detect(ds: str, modality: str, *, config: str | None = None) -> dict[str, Any]:
    """Land a modality's day and find who changed."""
    context = _writable(config)
    window = context.window(date.fromisoformat(ds))
    declared = context.settings.modality(modality)
    with window_events(context, window, whole=False), ProcessPool(context.settings, context.now) as pool:
        open_window(context, window, by="airflow")
        found = detect_changes(context, window, declared, pool=pool)
    return {
        "modality": modality,
        "rows": found.rows,
        "rejected": found.rejected,
        "changed_users": found.changed_users,
        "texts": found.texts.texts.num_rows,
    }


def encode(ds: str, modality: str, *, config: str | None = None) -> dict[str, Any]:
    """Encode the day's new texts."""
    context = _writable(config)
    window = context.window(date.fromisoformat(ds))
    with window_events(context, window, whole=False), ProcessPool(context.settings, context.now) as pool:
        done = encode_texts(context, window, context.settings.modality(modality), pool.encode)
    return {"modality": modality, "texts_encoded": done.texts_encoded}


def bucket_groups(ds: str, num_groups: int, *, config: str | None = None) -> list[list[int]]:
    """The buckets of a window in at most `num_groups` runs of neighbours with about the same number of changed users.

    A run's rows lie together in the event files, so a task reads no other task's.
    """
    context = _context(config)
    window = context.window(date.fromisoformat(ds))
    load = dict.fromkeys(range(context.settings.buffer.num_buckets), 0)
    for modality in context.settings.modalities:
        for shard in context.shards:
            changes = read_changes(context, window, modality.name, context.shards.buckets(shard))
            for counted in changes["bucket"].value_counts().to_pylist():
                load[counted["values"]] += counted["counts"]
    return runs([load[bucket] for bucket in sorted(load)], num_groups)


def refresh(ds: str, buckets: list[int], *, config: str | None = None) -> dict[str, Any]:
    """Refresh a group of buckets for one day."""
    return refresh_days([ds], buckets, config=config)


def refresh_days(days: list[str], buckets: list[int], *, config: str | None = None) -> dict[str, Any]:
    """Refresh a group of buckets for many days in order, with the model loaded once."""
    context = _writable(config)
    windows = [context.window(date.fromisoformat(ds)) for ds in days]
    num_users = sum(_num_changed(context, window, buckets) for window in windows)
    settings = _for_users(context.settings, num_users)
    with window_events(context, windows[0], whole=False), ProcessPool(settings, context.now) as pool:
        for _ in walk_buckets(pool, [window.ds for window in windows], buckets, num_users):
            pass
    records = [record for ds in days for record in context.ledger.bucket_records(date.fromisoformat(ds), buckets)]
    prefixes = sum(record.counts["prefixes"] for record in records)
    return {"buckets": sorted(buckets), "prefixes": prefixes}


def _for_users(settings: Settings, num_users: int) -> Settings:
    """With one process where that is sooner done with so many users than others have imported what this one has."""
    if settings.run.engine == "ray" or settings.model.backbone != "none" or num_users > FEW_USERS:
        return settings
    return replace(settings, run=replace(settings.run, processes=1))


def _num_changed(context: Context, window: Window, buckets: list[int]) -> int:
    """Users who changed in a window, of those buckets that are not refreshed yet."""
    heads, users = context.ledger.heads(), set[str]()
    due = [bucket for bucket in buckets if bucket not in heads or heads[bucket].ds < window.ds]
    for modality in context.settings.modalities if due else ():
        changes = read_changes(context, window, modality.name, due)
        users.update(changes.filter(pc.is_in(changes["bucket"], pa.array(due, pa.int32())))["user_id"].to_pylist())
    return len(users)


def publish(ds: str, *, config: str | None = None) -> dict[str, Any]:
    """Complete the day's offline files."""
    context = _writable(config)
    window = context.window(date.fromisoformat(ds))
    with window_events(context, window, whole=False):
        counts = complete_offline(context, window)
    return {"changed_users": counts["changed_users"], "prefixes": counts["prefixes"]}


def materialize(ds: str, *, config: str | None = None) -> dict[str, Any]:
    """Load the day into the online store and commit its window."""
    context = _writable(config)
    window = context.window(date.fromisoformat(ds))
    with window_events(context, window):
        report = finish(context, window, context.live_model().name, StepTimes())
    return {"rows": report.rows, "views": context.feature_views()}


def verify(ds: str, sample: int, *, config: str | None = None) -> dict[str, Any]:
    """Verify a sample of users after the day `ds` was committed, and write the metrics. Raises VerificationError."""
    try:
        return verify_newest(sample, config=config)
    finally:
        metrics.write_configured(_context(config))


def verify_newest(sample: int, *, config: str | None = None) -> dict[str, Any]:
    """Verify a sample of users at the newest committed window. Raises VerificationError."""
    report = verification.verify(_context(config), sample)
    raise_if_different(report)
    return {"users": report.users, "differences": len(report.differences)}


def check_alerts(*, config: str | None = None) -> dict[str, Any]:
    """Measure the newest committed window. Raises VerificationError if an alert threshold is exceeded."""
    health = measure(_context(config), online=True)
    raise_on_alert(health)
    return {"ds": health.ds, "online_values": health.online_values}


def maintain(*, config: str | None = None) -> dict[str, Any]:
    """Merge and prune the state."""
    report = maintain_state(_writable(config))
    return {"ds": report.ds, "removed": sum(part.removed for part in report.parts.values())}


def write_metrics(*, config: str | None = None) -> dict[str, Any]:
    """Write the metrics file if the config names one. Raises ConfigError if that is impossible."""
    context = _context(config)
    if path := context.settings.metrics.file:
        metrics.write_metrics(context, path)
    return {"file": path or None}


def backfill_days(from_date: str, to_date: str, *, config: str | None = None) -> list[str]:
    """Days of the range without a committed window, oldest first; both dates are inclusive."""
    context = _context(config)
    return [ds.isoformat() for ds in missing_days(context, date.fromisoformat(from_date), date.fromisoformat(to_date))]
