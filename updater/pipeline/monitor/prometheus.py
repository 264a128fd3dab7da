"""Metrics export: the values of `updater status --fail-on-alert` in Prometheus's text format."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from updater.domain.declared.alerts import THRESHOLDS
from updater.errors import ConfigError, UpdaterError
from updater.lake import partitions
from updater.pipeline.monitor.health import Health
from updater.pipeline.monitor.status import StatusReport, status
from updater.runtime.deployment import Context

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metric:
    """One gauge; its samples differ in the value of one label, or there is one without a label."""

    name: str
    help: str
    label: str = ""
    samples: Mapping[str, float] = field(default_factory=dict)
    """Values by the label's value; by the empty string where there is no label."""


def metrics_text(context: Context) -> str:
    """All metrics in Prometheus's text format.

    Raises:
        ConfigError: prometheus-client is not installed.
        ServiceUnavailableError: the online store does not answer.
    """
    try:
        from prometheus_client import CollectorRegistry, Gauge, generate_latest
    except ImportError:
        raise ConfigError("prometheus-client is not installed; run `pip install 'updater[watch]'`.") from None
    registry = CollectorRegistry()
    for metric in collect(context):
        gauge = Gauge(metric.name, metric.help, [metric.label] if metric.label else [], registry=registry)
        for value, number in metric.samples.items():
            (gauge.labels(value) if metric.label else gauge).set(number)
    return generate_latest(registry).decode()


def write_metrics(context: Context, path: str) -> None:
    """Write all metrics to a file, atomically: a reader finds the old ones or the new ones.

    Raises:
        ConfigError: the file cannot be written, or as for `metrics_text`.
    """
    text = metrics_text(context)
    try:
        with partitions.write_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise ConfigError(f"The metrics file {path} cannot be written: {error.strerror or error}.") from None


def write_configured(context: Context) -> str | None:
    """Write the file that `metrics.file` names, if it does, and return its path.

    This comes after a commit, which no monitoring shall undo: what goes wrong is a warning.
    """
    path = context.settings.metrics.file
    if not path:
        return None
    try:
        write_metrics(context, path)
    except UpdaterError as error:
        logger.warning("No metrics were written: %s", error)
        return None
    return path


def collect(context: Context) -> list[Metric]:
    """Measure the deployment. Before the first window there is little to report."""
    report = status(context, check=context.ledger.watermark() is not None)
    completed = len(context.ledger.completed_windows())
    found = [
        Metric("updater_windows_completed", "Windows that are committed.", samples={"": completed}),
        *_progress(report),
        *_sizes(report),
    ]
    if report.health is not None:
        ends = {m.modality: {"landed": m.landed, "processed": m.processed} for m in report.health.modalities}
        seconds = {
            kind: {name: _end(context, days[kind]) for name, days in ends.items()} for kind in ("landed", "processed")
        }
        found += [
            _by(
                "updater_modality_landed_timestamp_seconds",
                "End of the newest landed day.",
                "modality",
                seconds["landed"],
            ),
            _by(
                "updater_modality_processed_timestamp_seconds",
                "End of the newest processed day.",
                "modality",
                seconds["processed"],
            ),
            *_health(report.health),
        ]
    return [metric for metric in found if metric.samples]


def _progress(report: StatusReport) -> Iterator[Metric]:
    yield Metric("updater_windows_waiting", "Landed days without a window.", samples={"": len(report.waiting)})
    yield Metric("updater_windows_unfinished", "Windows begun and not committed.", samples={"": len(report.unfinished)})
    yield Metric(
        "updater_partitions_rewritten", "Partitions that changed after processing.", samples={"": len(report.rewritten)}
    )
    yield Metric("updater_model_trained", "1 if the live model was trained.", "model", {report.model: report.trained})
    if not report.runs:
        return
    last = report.runs[0]  # the newest committed window, however many were begun after it
    completed = datetime.fromisoformat(last["completed_at"]).timestamp()
    yield Metric("updater_window_completed_timestamp_seconds", "Commit of the newest window.", samples={"": completed})
    yield _by("updater_window_step_seconds", "Seconds per step of the newest window.", "step", last["seconds"])
    for name, text in (
        ("texts_encoded", "Texts encoded in the newest window."),
        ("prefixes", "Prefixes computed in the newest window."),
        ("rows", "Rows brought online in the newest window."),
    ):
        yield Metric(f"updater_window_{name}", text, samples={"": last[name]})


def _sizes(report: StatusReport) -> Iterator[Metric]:
    for unit in ("files", "bytes"):
        samples: dict[str, float | None] = {part: size[unit] for part, size in report.sizes.items()}
        yield _by(f"updater_state_{unit}", f"State: {unit} per part.", "part", samples)


def _health(health: Health) -> Iterator[Metric]:
    yield Metric("updater_changed_users", "Users changed in the newest window.", samples={"": health.changed_users})
    yield Metric("updater_active_users", "Users with events after it.", samples={"": health.active_users})
    yield Metric("updater_changed_share", "Share of the users changed in it.", samples={"": health.changed_share})
    yield _by("updater_usual_changed_share", "Median of that before it.", "", {"": health.usual_changed_share})
    by_modality, by_scenario = health.modalities, health.scenarios
    yield _by(
        "updater_modality_newest_event_timestamp_seconds",
        "Time of the newest event.",
        "modality",
        {m.modality: _seconds(m.newest_event) for m in by_modality},
    )
    yield _by(
        "updater_rejected_share",
        "Share of the newest window's rows rejected.",
        "modality",
        {m.modality: m.rejected_share for m in by_modality},
    )
    yield _by(
        "updater_scenario_as_of_timestamp_seconds",
        "Instant whose knowledge the embeddings reflect.",
        "scenario",
        {s.scenario: _seconds(s.as_of) for s in by_scenario},
    )
    yield _by(
        "updater_scenario_day_cosine",
        "Mean cosine of changed embeddings with those before.",
        "scenario",
        {s.scenario: s.day_cosine for s in by_scenario},
    )
    yield _by(
        "updater_scenario_mean_shift",
        "Length of the difference of their means.",
        "scenario",
        {s.scenario: s.mean_shift for s in by_scenario},
    )
    yield _by(
        "updater_scenario_compared_users",
        "Users compared for drift.",
        "scenario",
        {s.scenario: s.compared_users for s in by_scenario},
    )
    yield _by("updater_online_mismatch_share", "Share of online values that differ.", "", {"": health.mismatch_share})
    alerts = dict.fromkeys(THRESHOLDS, 0)
    for alert in health.alerts:
        alerts[alert.threshold] += 1
    yield _by("updater_alerts", "Values that exceed their alert threshold.", "threshold", dict(alerts))


def _by(name: str, text: str, label: str, samples: dict[str, float | None]) -> Metric:
    """A metric of the values that are known."""
    return Metric(name, text, label, {key: value for key, value in samples.items() if value is not None})


def _seconds(instant: str | None) -> float | None:
    return datetime.fromisoformat(instant).timestamp() if instant else None


def _end(context: Context, ds: str | None) -> float | None:
    return context.window(date.fromisoformat(ds)).as_of.timestamp() if ds else None
