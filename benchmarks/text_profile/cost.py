"""CPU seconds of daily windows with textual profiles and without: the same days, in turn, again and again."""

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings
from updater.state.layout import StateLayout

FIRST = date(2017, 6, 30)
BEGUN = date(2017, 7, 2)
"""Both states have the windows up to here before a round, which runs the next one without measuring it."""
NUM_WINDOWS = 4
ROUNDS = 3
TARGET = 1.2


def measure_cost(settings: Settings, root: Path) -> dict[str, Any]:
    """Windows of two states below `root` that differ in `profile.enabled`.

    Each round puts both states back and runs the same days in a process of its own. Which state is first changes from
    day to day and from round to round. The first window of each state in a process, which imports and opens everything,
    is not measured. The model and vectors of texts are those of the state of `settings`, so that few windows encode.
    """
    states = {name: state_settings(settings, root, name) for name in ("with", "without")}
    for own in states.values():
        if not _saved(own).exists():
            _in_a_process(_begin, own, settings)
            shutil.copytree(own.paths.state, _saved(own))
    rows: list[dict[str, Any]] = []
    for number in range(1, ROUNDS + 1):
        for own in states.values():
            shutil.rmtree(own.paths.state)
            shutil.copytree(_saved(own), own.paths.state)
        rows += [{"round": number, **row} for row in _in_a_process(_round, states, number)]
    return {"windows": rows, **summary(rows), "target": TARGET}


def _in_a_process(work: Callable[..., Any], *args: Any) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        return processes.submit(work, *args).result()


def _begin(own: Settings, settings: Settings) -> None:
    """The windows up to `BEGUN`, with the model of the state of `settings`."""
    shutil.rmtree(own.paths.state, ignore_errors=True)
    shutil.copytree(Path(settings.paths.state) / "texts", Path(own.paths.state) / "texts")
    initialize(own, StateLayout(settings.paths.state).model(1))
    context = open_writable(own)
    with ProcessPool(own, context.now) as pool:
        backfill(context, pool, FIRST, BEGUN)


def _round(states: Mapping[str, Settings], number: int) -> list[dict[str, Any]]:
    rows = []
    for day in range(NUM_WINDOWS + 1):
        ds = BEGUN + timedelta(days=day + 1)
        used = {name: _run(states[name], ds) for name in sorted(states, reverse=bool((day + number) % 2))}
        row = {"ds": ds.isoformat(), **{name: round(used[name], 2) for name in states}}
        row["ratio"] = round(used["with"] / used["without"], 3)
        print("measured" if day else "not measured", number, row, flush=True)
        rows += [row] if day else []
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The ratio of all windows; its spread is that of single windows and of rounds."""
    rounds = sorted({row["round"] for row in rows})
    totals = {
        name: [sum(row[name] for row in rows if row["round"] == number) for number in rounds]
        for name in ("with", "without")
    }
    by_round = [one / other for one, other in zip(totals["with"], totals["without"], strict=True)]
    return {
        "cpu_seconds": {name: round(sum(each), 2) for name, each in totals.items()},
        "ratio": round(sum(totals["with"]) / sum(totals["without"]), 3),
        "ratio_of_rounds": [round(one, 3) for one in by_round],
        "median_ratio": round(median(row["ratio"] for row in rows), 3),
        "smallest_and_largest_ratio": [choose(row["ratio"] for row in rows) for choose in (min, max)],
    }


def _saved(own: Settings) -> Path:
    return Path(own.paths.state).with_name("saved")


def state_settings(settings: Settings, root: Path, name: str) -> Settings:
    """The settings of one of the two states, `with` or `without`."""
    state = root / name / "state"
    environ = {
        "UPDATER_PATHS__STATE": str(state),
        "UPDATER_LEDGER__URL": f"sqlite:///{state}/ledger.db",
        "UPDATER_REGISTRY__URL": f"sqlite:///{state}/registry.db",
        "UPDATER_PROFILE__ENABLED": "true" if name == "with" else "false",
    }
    return load_settings(settings.source, environ)


def _run(own: Settings, ds: date) -> float:
    context = open_writable(own)
    with ProcessPool(own, context.now) as pool:
        begin = time.process_time()
        run_window(context, pool, ds)
        return time.process_time() - begin
