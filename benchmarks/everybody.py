"""A question about everybody, look-alikes and why of one: `python -m benchmarks.everybody`.

Users, events and weights are made up. For each number of users a deployment runs its first window; then `updater user
embed --all`, `similar` and `explain` run as commands of their own: seconds of the clock, CPU seconds, and the memory of
the largest process. What memory grows by with the number of users is what follows them.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.deployment import FIRST_DAY, local_settings
from updater.pipeline.init import initialize
from updater.sources.synthetic import SyntheticSpec, land

HISTORY_DAYS = 5


def main() -> None:
    """Make deployments, and ask them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.everybody", description=__doc__)
    parser.add_argument(
        "--users", type=int, nargs="+", default=[2_000, 20_000], help="made-up users of each deployment"
    )
    parser.add_argument("--processes", type=int, default=1, help="worker processes")
    given = parser.parse_args()
    for num_users in given.users:
        with TemporaryDirectory(prefix="updater-everybody-") as root:
            settings = local_settings(Path(root) / "made", given.processes)
            spec = SyntheticSpec(num_users=num_users, num_days=HISTORY_DAYS, first_day=FIRST_DAY)
            land(settings.paths.lake, spec)
            initialize(settings)
            config = ["--config", str(settings.source)]
            _call("run", "--ds", str(spec.last_day), *config)
            out = ["--output", str(Path(root) / "all.parquet")]
            scenario = settings.scenarios[0].name
            for name, *args in (
                ("embed --all", "user", "embed", "--all", "--query", "Who would try oat milk?", *out),
                ("similar", "user", "similar", "--user-id", "u0000007", "--scenario", scenario, "--json"),
                ("explain", "user", "explain", "--user-id", "u0000007", "--scenario", scenario, "--json"),
            ):
                seconds, cpu, mib = _call(*args, *config)
                print(
                    f"{num_users:7,} users  {name:12} {seconds:7.1f} s  {cpu:7.1f} CPU s  {mib:7,.0f} MiB", flush=True
                )


def _call(*args: str) -> tuple[float, float, float]:
    """Seconds, CPU seconds, and MiB of the largest process of a command."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "updater.cli", *args], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"updater {' '.join(args)} failed")
    return time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
