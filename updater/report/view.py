"""The page as words and numbers, made of facts. Pure: equal facts give an equal page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from updater.domain.window import minute
from updater.report.charts import Chart
from updater.report.facts import Facts, Version
from updater.report.next_day import NextDayView, next_day
from updater.report.pictures import drift_pictures, pictures, steps_of
from updater.report.table import Table
from updater.report.thresholds import thresholds
from updater.report.words import ago, number, percent, seconds

NOTHING = "–"


@dataclass(frozen=True)
class Tile:
    """A number that is looked at first."""

    name: str
    value: str
    note: str
    bad: bool = False


@dataclass(frozen=True)
class PageView:
    """Everything that stands on the page, in its order."""

    title: str
    made: str
    tiles: tuple[Tile, ...]
    exceeded: tuple[str, ...]
    """Thresholds that are exceeded, a sentence each."""
    thresholds: Table
    waits: tuple[str, ...]
    """What is unfinished, waiting or rewritten, a sentence each."""
    pictures: tuple[Chart, ...]
    undrawn: str
    """Which window is in the tables and not in the pictures, and why; empty if all are drawn."""
    windows: Table
    steps: Table
    modalities: Table
    drift: Table
    drift_pictures: tuple[Chart, ...]
    rejected: Table
    versions: Table
    not_passed: tuple[tuple[str, tuple[str, ...]], ...]
    """Versions that do not pass the gate of their evaluation, with the reasons."""
    sizes: Table
    next_day: NextDayView | None


def view(facts: Facts) -> PageView:
    """The page of these facts."""
    kept, exceeded = thresholds(facts)
    drawn, undrawn = _drawn(facts)
    return PageView(
        title=f"updater: {facts.config}",
        made=f"As of {minute(facts.now)} UTC, by version {facts.version}. Days are landing days in {facts.timezone}.",
        tiles=_tiles(facts),
        exceeded=exceeded,
        thresholds=kept,
        waits=_waits(facts),
        pictures=pictures(drawn),
        undrawn=undrawn,
        windows=_windows(facts.windows),
        steps=_steps(facts.windows),
        modalities=_modalities(facts),
        drift=_drift(facts),
        drift_pictures=drift_pictures(facts),
        rejected=_rejected(facts),
        versions=_versions(facts.versions),
        not_passed=tuple(
            (v.name, tuple(v.evaluation.gate)) for v in facts.versions if v.evaluation and v.evaluation.gate
        ),
        sizes=_sizes(facts),
        next_day=next_day(facts),
    )


def _tiles(facts: Facts) -> tuple[Tile, ...]:
    found, health = facts.status, facts.status.health
    model = next((v for v in facts.versions if v.live), None)
    tiles = [
        Tile("Watermark", found.watermark or "none", "newest day that is committed" if health else "no window yet")
    ]
    if health is not None:
        hours = (datetime.fromisoformat(facts.now) - datetime.fromisoformat(health.as_of)).total_seconds() / 3600
        names = {alert.threshold for alert in health.alerts}
        exceeded, old = len(names), "max_hours_since_as_of" in names
        tiles += [
            Tile("Freshness", ago(hours), f"since {minute(health.as_of)} UTC", old),
            Tile(
                "Alerts",
                number(exceeded) if exceeded else "none",
                f"of {len(facts.thresholds)} thresholds",
                exceeded > 0,
            ),
            Tile("Changed users", percent(health.changed_share), f"{number(health.changed_users)} on {health.ds}"),
        ]
    tiles.append(Tile("Waiting", number(len(found.waiting)), "days that have landed"))
    tiles.append(
        Tile("Model", found.model, "trained" if model and model.trained else "untrained weights", not found.trained)
    )
    return tuple(tiles)


def _waits(facts: Facts) -> tuple[str, ...]:
    found = facts.status
    said = [
        f"The window of {ds} was begun and is not finished; unless it is running, run it again."
        for ds in found.unfinished
    ]
    if found.waiting:
        more = f" and {number(len(found.waiting) - 1)} more" if len(found.waiting) > 1 else ""
        said.append(f"{found.waiting[0]}{more} landed and {'wait' if more else 'waits'}.")
    said += [
        f"{item['modality']} of {item['ds']} was rewritten after it had been processed: {item['restate_with']}"
        for item in found.rewritten
    ]
    return tuple(said)


def _drawn(facts: Facts) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The first window computes everybody; beside it no later one could be seen."""
    first = str(facts.first_window)
    if len(facts.windows) > 1 and facts.windows[0]["ds"] == first:
        return facts.windows[1:], f"The window of {first} built the state of everybody and is left out of the pictures."
    return facts.windows, ""


def _windows(windows: Sequence[Mapping[str, Any]]) -> Table:
    head = (
        "day",
        "changed users",
        "users × modalities",
        "users computed",
        "of a full recompute",
        "texts",
        "rows",
        "rejected",
    )
    return Table(
        head,
        tuple(
            (
                w["ds"],
                number(w["changed_users"]),
                number(w["changed_summaries"]),
                number(w["prefixes"]),
                percent(w["share"]),
                number(w["texts_encoded"]),
                number(sum(m["rows"] for m in w["modalities"])),
                number(sum(m["rejected"] for m in w["modalities"])),
            )
            for w in reversed(windows)
        ),
    )


def _steps(windows: Sequence[Mapping[str, Any]]) -> Table:
    steps = steps_of(windows)
    return Table(
        ("day", *steps, "all"),
        tuple(
            (
                w["ds"],
                *(seconds(w["seconds"][step]) if step in w["seconds"] else NOTHING for step in steps),
                seconds(sum(w["seconds"].values())),
            )
            for w in reversed(windows)
        ),
    )


def _modalities(facts: Facts) -> Table:
    health = facts.status.health
    return Table(
        ("modality", "landed", "processed", "newest event (UTC)", "days before", "rows", "rejected"),
        tuple(
            (
                m.modality,
                m.landed or "never",
                m.processed or "never",
                minute(m.newest_event) if m.newest_event else NOTHING,
                NOTHING if m.days_since_last_event is None else f"{m.days_since_last_event:.1f}",
                number(m.rows),
                percent(m.rejected_share),
            )
            for m in (health.modalities if health else ())
        ),
    )


def _drift(facts: Facts) -> Table:
    health = facts.status.health
    return Table(
        ("scenario", "users compared", "mean cosine", "shift of the mean", "as of (UTC)"),
        tuple(
            (
                s.scenario,
                number(s.compared_users),
                NOTHING if s.day_cosine is None else f"{s.day_cosine:.3f}",
                NOTHING if s.mean_shift is None else f"{s.mean_shift:.3f}",
                minute(s.as_of) if s.as_of else "with the next window",
            )
            for s in (health.scenarios if health else ())
        ),
    )


def _rejected(facts: Facts) -> Table:
    return Table(
        ("day", "modality", "rejected", "of rows", "why"),
        tuple(
            (
                str(one.ds),
                one.modality,
                number(one.rejected),
                number(one.rows),
                "; ".join(f"{number(count)}: {reason}" for reason, count in one.reasons.items()),
            )
            for one in facts.rejected
        ),
    )


def _versions(versions: Sequence[Version]) -> Table:
    systems = list(dict.fromkeys(name for v in versions if v.evaluation for name in v.evaluation.auc))
    return Table(
        ("version", "name", "made", "weights", "state", "evaluation", *(f"AUC {name}" for name in systems)),
        tuple(
            (
                number(v.version),
                v.name,
                v.created[:10],
                "trained" if v.trained else "untrained",
                "live" if v.live else "removed" if v.removed else "not live",
                _evaluated(v),
                *(_auc(v, name) for name in systems),
            )
            for v in reversed(versions)
        ),
    )


def _evaluated(version: Version) -> str:
    found = version.evaluation
    if found is None:
        return "not evaluated"
    tasks = f"{number(found.tasks)} {'task' if found.tasks == 1 else 'tasks'}"
    return tasks if found.gate is None else f"{tasks}, gate {'not ' if found.gate else ''}passed"


def _auc(version: Version, system: str) -> str:
    value = version.evaluation.auc.get(system) if version.evaluation else None
    return NOTHING if value is None else f"{value:.3f}"


def _sizes(facts: Facts) -> Table:
    return Table(
        ("part of the state", "files", "megabytes"),
        tuple(
            (str(part), number(size["files"]), f"{size['bytes'] / 1e6:,.1f}")
            for part, size in facts.status.sizes.items()
        ),
    )
