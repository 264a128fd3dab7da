"""CPU seconds of daily windows with textual profiles and without, on the same days, in turn."""

import shutil
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings

FIRST = date(2017, 6, 30)
NUM_WINDOWS = 4
TARGET = 1.2


def measure_cost(settings: Settings, root: Path) -> dict[str, Any]:
    """Windows of two states below `root` that differ in `profile.enabled`, in one process each.

    Which of them is first changes from day to day. Vectors of texts are taken from the state of `settings`, so that few
    windows encode a text. Windows that the states have already are not measured again: the days after them are.
    """
    contexts = {name: _state(settings, root / name, name) for name in ("with", "without")}
    begun = max(context.ledger.watermark() or FIRST for context in contexts.values())
    for context in contexts.values():
        with ProcessPool(context.settings, context.now) as pool:
            backfill(context, pool, FIRST, begun)
    rows = []
    for number in range(1, NUM_WINDOWS + 1):
        ds = begun + timedelta(days=number)
        names = ("with", "without") if number % 2 else ("without", "with")
        used = {name: _run(contexts[name], ds) for name in names}
        rows.append({"ds": ds.isoformat(), **used, "ratio": round(used["with"] / used["without"], 3)})
        print(rows[-1], flush=True)
    total = {name: round(sum(row[name] for row in rows), 2) for name in contexts}
    return {
        "windows": rows,
        "cpu_seconds": total,
        "ratio": round(total["with"] / total["without"], 3),
        "median_ratio": median(row["ratio"] for row in rows),
        "target": TARGET,
    }


def _state(settings: Settings, root: Path, name: str) -> WritableContext:
    if not (texts := root / "state" / "texts").exists():
        shutil.copytree(Path(settings.paths.state) / "texts", texts)
    own = state_settings(settings, root.parent, name)
    initialize(own)
    return open_writable(own)


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


def _run(context: WritableContext, ds: date) -> float:
    with ProcessPool(context.settings, context.now) as pool:
        begin = time.process_time()
        run_window(context, pool, ds)
        return round(time.process_time() - begin, 2)
