"""A day whose state is in a bucket over the same day whose state is in a directory.

    python -m benchmarks.scale.bucket --users 2000 20000

Two deployments of `configs/local.toml` over one lake of made-up users, equal but for `paths.state`, do the same days in
turn with two workers each; ledger, registry and online store are SQLite files in both. The S3 server is the tests'
(SeaweedFS), on the same machine. The last day goes through a proxy that counts requests and is not timed. Prints a row
of JSON per number of users: wall-clock and CPU seconds are sums over the days, CPU seconds those of `updater` alone.
"""

import argparse
import json
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import psutil

from benchmarks.deployment import FIRST_DAY, local_settings
from benchmarks.scale.family import cpu_seconds
from tests.s3_proxy import proxy_of
from tests.s3_server import S3Server, environment, s3_running
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.sources.synthetic import SyntheticSpec, land

HISTORY_DAYS = 30
NUM_DAYS = 5
PROCESSES = 2


class Place:
    """A deployment whose state is somewhere."""

    def __init__(self, settings: Settings) -> None:
        self.context: WritableContext = open_writable(settings)
        self.pool = ProcessPool(settings, self.context.now)
        self.walls: list[float] = []
        self.steps: Counter[str] = Counter()
        self.cpu = 0.0
        self.changed = 0

    def window(self, ds: date) -> float:
        """Run a window; its wall-clock seconds."""
        began = perf_counter()
        report = run_window(self.context, self.pool, ds)
        took = perf_counter() - began
        self.steps.update({step: float(seconds) for step, seconds in report.seconds.items()})
        self.changed += report.prefixes
        return took

    def timed(self, ds: date, server: psutil.Process) -> None:
        """Run a window and remember what it took."""
        before = _own_cpu(server)
        self.walls.append(self.window(ds))
        self.cpu += _own_cpu(server) - before

    def forget(self) -> None:
        """Begin to count anew."""
        self.walls, self.steps, self.cpu, self.changed = [], Counter(), 0.0, 0

    def row(self) -> dict[str, Any]:
        """What was remembered."""
        seconds = {step: round(value, 2) for step, value in self.steps.items()}
        return {"wall": round(sum(self.walls), 2), "cpu": round(self.cpu, 2), "steps_wall": seconds}


def measure(root: Path, server: S3Server, num_users: int) -> dict[str, Any]:
    """Both places, day by day."""
    local = local_settings(root / "local", PROCESSES)
    other = local_settings(root / "bucket", PROCESSES)
    paths = replace(other.paths, lake=local.paths.lake, state=f"s3://{server.bucket()}/state")
    spec = SyntheticSpec(num_users=num_users, num_days=HISTORY_DAYS + NUM_DAYS + 1, first_day=FIRST_DAY)
    land(local.paths.lake, spec)
    days = [spec.last_day - timedelta(days=number) for number in reversed(range(NUM_DAYS + 2))]
    # The databases are files below the directory, wherever the state is.
    (root / "bucket" / "state").mkdir(exist_ok=True)
    other = replace(other, paths=paths)
    for settings in (local, other):
        initialize(settings)
    places = {"directory": Place(local), "bucket": Place(other)}
    process = _server_process()
    with places["directory"].pool, places["bucket"].pool:
        for place in places.values():
            place.window(days[0])
            place.forget()
        for number, ds in enumerate(days[1:-1]):
            for name in (list(places), list(reversed(places)))[number % 2]:
                places[name].timed(ds, process)
        ratios = [b / a for a, b in zip(*(place.walls for place in places.values()), strict=True)]
        changed = places["directory"].changed
        with proxy_of(server.port) as proxy:
            os.environ.update(environment(proxy.port))
            place = Place(other)
            with place.pool:
                place.window(days[-1])
            os.environ.update(server.environment)
    return {
        "users": num_users,
        "days": NUM_DAYS,
        "changed_users": changed,
        **{name: place.row() for name, place in places.items()},
        "bucket_over_directory": {"median": round(median(ratios), 2), "least": round(min(ratios), 2)}
        | {"most": round(max(ratios), 2)},
        "requests_of_a_day": dict(sorted(proxy.requests.items())),
    }


def _server_process() -> psutil.Process:
    """The S3 server, a child of this process."""
    [found] = [child for child in psutil.Process().children() if "weed" in child.name()]
    return found


def _own_cpu(server: psutil.Process) -> float:
    times = server.cpu_times()
    return cpu_seconds(os.getpid()) - times.user - times.system


def main() -> None:
    """Measure one number of users after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale.bucket", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--users", type=int, nargs="+", default=[2000, 20_000])
    given = parser.parse_args()
    for users in given.users:
        with ExitStack() as stack:
            root = Path(stack.enter_context(TemporaryDirectory(prefix="updater-bench-")))
            server = stack.enter_context(s3_running(root / "s3"))
            os.environ.update(server.environment)
            print(json.dumps(measure(root, server, users)), flush=True)


if __name__ == "__main__":
    main()
