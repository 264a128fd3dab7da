"""Which pictures the page has. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from updater.report import charts
from updater.report.charts import Chart
from updater.report.facts import Facts
from updater.report.words import axis_seconds, number, whole_percent

STEPS = ("detect", "encode", "refresh", "publish", "verify", "materialize", "commit")
"""The steps of a window, in their order."""


def steps_of(windows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The steps that were timed in any of the windows, in the order in which a window takes them."""
    timed = {step for window in windows for step in window["seconds"]}
    return [*(step for step in STEPS if step in timed), *sorted(timed - set(STEPS))]


def pictures(windows: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """Windows as pictures: who changed, in what, how long it took, and what it spared."""
    if not windows:
        return ()
    days = [w["ds"] for w in windows]
    by_modality = [{m["modality"]: m["changed_users"] for m in w["modalities"]} for w in windows]
    names = list(dict.fromkeys(name for found in by_modality for name in found))
    steps = steps_of(windows)
    return (
        charts.columns("Changed users", days, {"users": [w["changed_users"] for w in windows]}, number),
        charts.small_columns(
            "Changed users by modality",
            days,
            {name: [found.get(name, 0) for found in by_modality] for name in names},
            number,
        ),
        charts.columns(
            "Seconds per step",
            days,
            {step: [w["seconds"].get(step, 0.0) for w in windows] for step in steps},
            axis_seconds,
        ),
        charts.columns(
            "Share of a full recompute", days, {"share": [w["share"] for w in windows]}, whole_percent, top=1.0
        ),
    )


def drift_pictures(facts: Facts) -> tuple[Chart, ...]:
    """How near each scenario's embeddings are to the same users' previous ones."""
    scenarios = facts.status.health.scenarios if facts.status.health else ()
    cosine = {s.scenario: s.day_cosine for s in scenarios if s.day_cosine is not None}
    shift = {s.scenario: s.mean_shift for s in scenarios if s.mean_shift is not None}
    if not cosine:
        return ()
    return (
        charts.dots("Mean cosine with the embeddings before", cosine, facts.thresholds["min_day_cosine"], _three),
        charts.dots("Shift of the mean", shift, facts.thresholds["max_mean_shift"], _three),
    )


def _three(value: float) -> str:
    return f"{value:.3f}"
