"""Status: how fresh the state is, what waits, what was rewritten behind our back, and how large everything is."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from updater.lake import partitions
from updater.pipeline.monitor.health import Health, measure
from updater.pipeline.restate.changed_partitions import find_rewritten
from updater.pipeline.versions.registry import has_files
from updater.runtime.deployment import Context
from updater.state.layout import StatePart

LAST_RUNS = 7
SIZED = (
    StatePart.EVENTS,
    StatePart.TEXTS,
    StatePart.SUMMARIES,
    StatePart.OFFLINE,
    StatePart.REJECTED,
    StatePart.MODELS,
)
"""Parts of the state whose size is told."""


@dataclass
class StatusReport:
    """The state of a deployment."""

    watermark: str | None
    """Newest committed window."""
    model: str
    trained: bool
    versions: list[dict[str, Any]] = field(default_factory=list)
    """Every model version, oldest first: number, name, whether trained, live, or removed again."""
    waiting: list[str] = field(default_factory=list)
    """Days after the watermark that have landed in every required modality."""
    unfinished: list[str] = field(default_factory=list)
    """Windows that were started and not committed."""
    rewritten: list[dict[str, str]] = field(default_factory=list)
    """Partitions whose files changed after they had been processed, and the command that restates them."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Files and bytes per part of the state."""
    health: Health | None = None
    """The newest committed window against the alert thresholds; None before the first."""


def status(context: Context, check: bool = False) -> StatusReport:
    """Look at ledger, lake and state; change nothing.

    Args:
        context: the deployment.
        check: compare a sample of the online store as well, and insist on a committed window.

    Raises:
        NothingCommittedError: `check`, and no window is committed.
    """
    model = context.live_model()
    watermark = context.ledger.watermark()
    report = StatusReport(watermark.isoformat() if watermark else None, model.name, model.trained)
    report.versions = [
        {
            "version": record.version,
            "model": record.name,
            "trained": record.trained,
            "live": record.live,
            "removed": not has_files(context, record.version),
        }
        for record in context.ledger.models()
    ]
    report.waiting = [ds.isoformat() for ds in landed_everywhere(context) if watermark is None or ds > watermark]
    report.unfinished = [ds.isoformat() for ds in context.ledger.unfinished_windows()]
    report.rewritten = rewritten(context, watermark) if watermark else []
    report.runs = [
        {"ds": window.ds.isoformat(), "completed_at": window.completed_at.isoformat(), **window.counts}
        for window in context.ledger.completed_windows(LAST_RUNS)
        if window.completed_at is not None
    ]
    for part in SIZED:
        fs, inner = partitions.filesystem(context.layout.path(part))
        files = fs.find(inner, detail=True) if fs.exists(inner) else {}
        report.sizes[part] = {"files": len(files), "bytes": sum(info["size"] for info in files.values())}
    if watermark is not None or check:
        report.health = measure(context, online=check)
    return report


def landed_everywhere(context: Context) -> list[date]:
    """Days that have landed in every modality that is not optional, oldest first."""
    roots = [
        partitions.join(context.settings.paths.lake, m.name) for m in context.settings.modalities if not m.optional
    ]
    if not roots:
        roots = [partitions.join(context.settings.paths.lake, m.name) for m in context.settings.modalities]
    return sorted(set.intersection(*(set(partitions.landed_days(root)) for root in roots)))


def rewritten(context: Context, watermark: date) -> list[dict[str, str]]:
    """Partitions that were rewritten, with the command that restates each."""
    return [
        {
            "modality": modality.name,
            "ds": ds.isoformat(),
            "restate_with": f"updater backfill --from-date {ds} --to-date {watermark} --restate",
        }
        for modality, ds, _ in find_rewritten(context, date.min, watermark)
    ]
