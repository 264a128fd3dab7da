"""What the page is made of, read and not changed: the ledger by its reader, the state, and the plan of the next day."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from updater import __version__
from updater.domain.declared.alerts import Measured
from updater.errors import ConfigError, UpdaterError
from updater.lake import partitions
from updater.ledger import PartitionRecord
from updater.pipeline.daily.dry_run import DryRun, plan_window
from updater.pipeline.monitor.health import measured
from updater.pipeline.monitor.status import StatusReport, status
from updater.runtime.deployment import Context, day_after

SHOWN_WINDOWS = 14
"""Windows on the page unless somebody asks for another number: each day of the week twice."""
NO_REASON = "no longer kept"


@dataclass(frozen=True)
class Rejected:
    """Rows of a landed day of a modality that were refused."""

    ds: date
    modality: str
    rows: int
    """Rows that landed."""
    rejected: int
    reasons: Mapping[str, int]
    """Rows by reason; `NO_REASON` where the rows themselves are gone."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation of a model on the label tasks found."""

    auc: Mapping[str, float | None]
    """Mean AUC of each system."""
    tasks: int
    gate: Sequence[str] | None
    """Why the model should not go live; None where the report does not say."""


@dataclass(frozen=True)
class Version:
    """A model version, with what is known of how good it is."""

    version: int
    name: str
    trained: bool
    live: bool
    removed: bool
    created: str
    evaluation: Evaluation | None


@dataclass(frozen=True)
class NextDay:
    """The day after the watermark."""

    ds: date
    landed: bool
    plan: DryRun | None
    """None if nobody asked for it, or if it cannot be made."""
    refused: str
    """Why running it would be refused now; empty if it would not, or if that was not asked."""


@dataclass(frozen=True)
class Facts:
    """A deployment at one instant."""

    config: str
    """The config file with the name of its directory."""
    timezone: str
    now: str
    version: str
    status: StatusReport
    first_window: date | None
    """The window that built the state of everybody."""
    windows: Sequence[Mapping[str, Any]]
    """The newest committed windows, oldest first: what each did, as `updater run --json` prints it."""
    rejected: Sequence[Rejected]
    """Of the days of these windows, newest first."""
    thresholds: Mapping[str, float | None]
    """Each alert threshold; None for one that is never exceeded."""
    measured: Sequence[Measured]
    versions: Sequence[Version]
    next_day: NextDay | None
    """None before the first window."""


def collect(context: Context, last: int = SHOWN_WINDOWS, *, plan: bool = True, online: bool = False) -> Facts:
    """Look at a deployment; change nothing.

    Args:
        context: the deployment.
        last: how many windows are looked at.
        plan: plan the next day if it has landed, which takes about as long as its step `detect`.
        online: compare a sample of online values with the offline ones as well, which loads Feast.

    Raises:
        ConfigError: the ledger is not initialized, the config does not fit the state, or `last` is not above 0.
        ServiceUnavailableError: the ledger does not answer, or with `online` the online store does not.
    """
    if last < 1:
        raise ConfigError(f"A report looks at one window or more; last is {last}.")
    watermark = context.ledger.watermark()
    found = status(context, check=online and watermark is not None)
    records = [record for record in reversed(context.ledger.completed_windows(last)) if record.completed_at is not None]
    return Facts(
        config="/".join(context.settings.source.absolute().parts[-2:]),
        timezone=context.settings.timezone,
        now=context.now.isoformat(),
        version=__version__,
        status=found,
        first_window=context.first_window(),
        windows=[
            {"ds": record.ds.isoformat(), "completed_at": str(record.completed_at), **record.counts}
            for record in records
        ],
        rejected=_rejected(context, records[0].ds, records[-1].ds) if records else [],
        thresholds={
            name: None if math.isinf(limit) else limit for name, limit in asdict(context.settings.alerts).items()
        },
        measured=measured(found.health) if found.health else [],
        versions=_versions(context),
        next_day=_next_day(context, day_after(watermark), found, plan) if watermark else None,
    )


def _rejected(context: Context, first: date, last: date) -> list[Rejected]:
    records = context.ledger.partitions(from_date=first, to_date=last)
    found = [
        Rejected(record.ds, record.modality, record.num_rows, record.num_rejected, _reasons(context, record))
        for record in records
        if record.num_rejected
    ]
    return sorted(found, key=lambda one: (one.ds, one.modality), reverse=True)


def _reasons(context: Context, record: PartitionRecord) -> dict[str, int]:
    path = context.layout.rejected_file(record.modality, record.ds)
    if not partitions.exists(path):
        return {NO_REASON: record.num_rejected}
    reasons = partitions.read_table(path, ["reason"])["reason"].to_pylist()
    return dict(Counter(reasons).most_common())


def _versions(context: Context) -> list[Version]:
    return [
        Version(
            record.version,
            record.name,
            record.trained,
            record.live,
            not context.has_model(record.version),
            record.created_at.isoformat(),
            _evaluation(context.layout.model_evaluation(record.digest)),
        )
        for record in context.ledger.models()
    ]


def _evaluation(path: str) -> Evaluation | None:
    if not partitions.exists(path):
        return None
    fs, inner = partitions.filesystem(path)
    report = json.loads(fs.cat_file(inner))
    auc = {system: values["auc"] for system, values in report["mean"].items()}
    return Evaluation(auc, len(report["tasks"]), report.get("gate"))


def _next_day(context: Context, ds: date, found: StatusReport, plan: bool) -> NextDay:
    landed = ds.isoformat() in found.waiting
    if not (plan and landed):
        return NextDay(ds, landed, None, "")
    try:
        # A plan's first users are for the command line; the page names nobody.
        return NextDay(ds, landed, replace(plan_window(context, ds), users=()), "")
    except UpdaterError as error:
        return NextDay(ds, landed, None, str(error))
