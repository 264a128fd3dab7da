"""Status: how fresh the state is, what waits, what was rewritten behind our back, and how large everything is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from updater.lake import partitions
from updater.pipeline.changed_partitions import find_rewritten
from updater.pipeline.monitor.health import Health, measure
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
"""Parts of the state whose size is reported."""


@dataclass(frozen=True)
class StatusReport:
    """The state of a deployment."""

    watermark: str | None
    """Newest committed window."""
    model: str
    trained: bool
    versions: Sequence[dict[str, Any]] = field(default_factory=list)
    """Every model version, oldest first: number, name, whether trained, live, or removed again."""
    waiting: Sequence[str] = field(default_factory=list)
    """Days after the watermark that have landed in every required modality."""
    unfinished: Sequence[str] = field(default_factory=list)
    """Windows that were started and not committed."""
    rewritten: Sequence[dict[str, str]] = field(default_factory=list)
    """Partitions whose files changed after they had been processed, and the command that restates them."""
    runs: Sequence[dict[str, Any]] = field(default_factory=list)
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
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
    return StatusReport(
        watermark=watermark.isoformat() if watermark else None,
        model=model.name,
        trained=model.trained,
        versions=list_versions(context),
        waiting=[ds.isoformat() for ds in landed_everywhere(context) if watermark is None or ds > watermark],
        unfinished=[ds.isoformat() for ds in context.ledger.unfinished_windows()],
        rewritten=rewritten(context, watermark) if watermark else [],
        runs=[
            {"ds": window.ds.isoformat(), "completed_at": window.completed_at.isoformat(), **window.counts}
            for window in context.ledger.completed_windows(LAST_RUNS)
            if window.completed_at is not None
        ],
        sizes={part: _size(context, part) for part in SIZED},
        health=measure(context, online=check) if watermark is not None or check else None,
    )


def list_versions(context: Context) -> list[dict[str, Any]]:
    """Every model version, oldest first: number, name, whether trained, live, or removed again."""
    return [
        {
            "version": record.version,
            "model": record.name,
            "trained": record.trained,
            "live": record.live,
            "removed": not context.has_model(record.version),
        }
        for record in context.ledger.models()
    ]


def _size(context: Context, part: StatePart) -> dict[str, int]:
    """Files and bytes of a part of the state."""
    fs, inner = partitions.filesystem(context.layout.path(part))
    files = fs.find(inner, detail=True) if fs.exists(inner) else {}
    return {"files": len(files), "bytes": sum(info["size"] for info in files.values())}


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
