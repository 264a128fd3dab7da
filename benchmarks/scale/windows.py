"""Whole daily windows of deployments of different sizes: CPU time, peak memory of all processes, and bytes.

    python -m benchmarks.scale.windows --users 100000 1000000 --buckets 64 --shards 16
    python -m benchmarks.scale.windows --users-per-bucket 24400 --buckets 4 16 64        weak scaling

Everybody has state from the first window on, and a twentieth of the users changes in each window after it; the last is
reported. The model has no layers, so what grows with the users is not hidden behind it. Each deployment is a process of
its own with its workers. Prints a row of JSON per deployment.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.scale.deployment import land, make_settings
from benchmarks.scale.family import Peak, cpu_seconds
from updater.pipeline.daily.window import WindowReport, run_window
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool

NUM_DAYS = 3
DAY = 86_400


def measure(root: Path, num_users: int, buckets: int, shards: int, processes: int) -> dict[str, Any]:
    """One deployment, in this process and its workers."""
    settings = make_settings(root, buckets, shards, processes)
    first, *days = land(settings.paths.lake, num_users, NUM_DAYS)
    initialize(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        whole = _cost(lambda: run_window(context, pool, first))
        before = _bytes(root / "state")
        *_, daily = [_cost(lambda ds=ds: run_window(context, pool, ds)) for ds in days]
    report: WindowReport = daily.pop("report")
    whole.pop("report")
    return {
        "users": num_users,
        "buckets": buckets,
        "shards": shards,
        "processes": processes,
        "changed_users": report.prefixes,
        "cpu_ms_per_changed_user": round(1e3 * daily["cpu_seconds"] / report.prefixes, 3),
        "bytes_per_changed_user": (_bytes(root / "state") - before) // (report.prefixes * len(days)),
        **daily,
        "first_window": whole,
        "steps_wall_seconds": dict(report.seconds),
    }


def _cost(run: Any) -> dict[str, Any]:
    pid = os.getpid()
    with Peak(pid) as peak:
        before = cpu_seconds(pid)
        report = run()
        spent = cpu_seconds(pid) - before
    return {"report": report, "cpu_seconds": round(spent, 2), "peak_mb": peak.bytes >> 20}


def _bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def main() -> None:
    """Measure deployments one after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale.windows", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--users", type=int, nargs="+", default=[100_000])
    parser.add_argument("--users-per-bucket", type=int)
    parser.add_argument("--buckets", type=int, nargs="+", default=[64])
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--in", dest="root", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.root:
        size = given.users[0], given.buckets[0], given.shards, given.processes
        print(json.dumps(measure(given.root, *size)))
        return
    per_bucket = given.users_per_bucket
    sizes = [
        (users, buckets)
        for buckets in given.buckets
        for users in ([per_bucket * buckets] if per_bucket else given.users)
    ]
    for users, buckets in sizes:
        with TemporaryDirectory(prefix="updater-bench-") as root:
            command = [sys.executable, "-m", "benchmarks.scale.windows", "--in", root, "--users", str(users)]
            command += ["--buckets", str(buckets), "--shards", str(given.shards)]
            subprocess.run([*command, "--processes", str(given.processes)], check=True, timeout=DAY)


if __name__ == "__main__":
    main()
