"""Landing and detect alone, which come before any model: CPU seconds and peak memory by number of users and shards.

    python -m benchmarks.scale.detect --users 1000000 --shards 1 16

A history lands, in which everybody has an event and then a twentieth each day; then a day's changes are found. Each
deployment is a process of its own. Prints a row of JSON per deployment.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.scale.deployment import land, make_settings
from benchmarks.scale.family import Peak, cpu_seconds
from updater.pipeline.daily.intake.land import into_state, land_day
from updater.pipeline.daily.plan import plan_changes
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool

NUM_DAYS = 9
MINUTE = 60


def measure(root: Path, num_users: int, buckets: int, shards: int, processes: int) -> dict[str, Any]:
    """One deployment, in this process and its workers."""
    settings = make_settings(root, buckets, shards, processes)
    *history, last = land(settings.paths.lake, num_users, NUM_DAYS)
    create_ledger(settings)
    context = open_writable(settings)
    first = context.window(history[0])
    context.ledger.open_window(history[0], first.as_of, context.now)
    (modality,) = context.settings.modalities
    pid, seconds = os.getpid(), {}
    with Peak(pid) as landing:
        spent = time.process_time()
        for ds in history:
            land_day(context, ds, modality)
        seconds["landing"] = time.process_time() - spent
    with ProcessPool(settings, context.now) as pool, Peak(pid) as detecting:
        before = cpu_seconds(pid)
        plan = plan_changes(context, context.window(last), partial(into_state, context), pool)
        seconds["detect"] = cpu_seconds(pid) - before
    rows = num_users + (NUM_DAYS - 2) * plan.modalities[0].rows
    return {
        "users": num_users,
        "buckets": buckets,
        "shards": shards,
        "processes": processes,
        "changed_users": plan.changed_users,
        "landing_us_per_row": round(1e6 * seconds["landing"] / rows, 2),
        "landing_peak_mb": landing.bytes >> 20,
        "detect_us_per_changed_user": round(1e6 * seconds["detect"] / plan.changed_users, 1),
        "detect_peak_mb": detecting.bytes >> 20,
        "cpu_seconds": {name: round(value, 2) for name, value in seconds.items()},
    }


def main() -> None:
    """Measure deployments one after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale.detect", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--buckets", type=int, default=64)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--in", dest="root", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.root:
        print(json.dumps(measure(given.root, given.users[0], given.buckets, given.shards[0], given.processes)))
        return
    for users in given.users:
        for shards in given.shards:
            with TemporaryDirectory(prefix="updater-bench-") as root:
                command = [sys.executable, "-m", "benchmarks.scale.detect", "--in", root, "--users", str(users)]
                command += ["--shards", str(shards), "--buckets", str(given.buckets)]
                subprocess.run([*command, "--processes", str(given.processes)], check=True, timeout=60 * MINUTE)


if __name__ == "__main__":
    main()
