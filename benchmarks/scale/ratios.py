"""Whole daily windows of two deployments that differ in their number of users: seconds per user, and peak memory.

The config is light, so that many users take minutes: one modality with one event per active user, few distinct texts,
one layer of the tiny model, one scenario, 16 buckets. Each deployment runs in a process of its own with one worker per
core, as `updater run` does; the days of the one and the other take turns. Memory is what a deployment's processes hold
together, pages that they share counted once.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.deployment import FIRST_DAY
from benchmarks.row import Row, measured
from benchmarks.scale.deployment import DECLARED
from benchmarks.scale.family import Peak
from benchmarks.stores import FEATURE_REPO
from benchmarks.timing import ratios
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.sources.synthetic import EventsPerActiveDay, SyntheticSpec, land

HISTORY_DAYS = 8
ACTIVE_SHARE = 0.25
EVENTS = EventsPerActiveDay(bill=1.0, mini=0.0, spm=0.0, search=0.0, app=0.0, tabular=0.0)
CONFIG = f"""
[paths]
feature_repo = {json.dumps(str(FEATURE_REPO))}
[model]
backbone_layers = 1
{DECLARED}"""


@dataclass(frozen=True)
class Day:
    """A window that a deployment ran."""

    prefixes: int
    seconds: dict[str, float]
    peak_bytes: int

    @property
    def per_user(self) -> float:
        """Wall-clock seconds per changed user."""
        return sum(self.seconds.values()) / self.prefixes


def rows(smoke: bool) -> Iterator[Row]:
    """Time and memory of the larger deployment over the smaller."""
    sizes, rounds = ((200, 600), 1) if smoke else ((20_000, 200_000), 3)
    with TemporaryDirectory(prefix="updater-bench-") as root, ExitStack() as stack:
        few, many = (stack.enter_context(_Deployment(Path(root), num_users, rounds)) for num_users in sizes)
        first = [each.run(0) for each in (few, many)]
        each_day = [[each.run(number) for each in (few, many)] for number in range(1, rounds + 2)]
    # The day after the first window loads what the later ones share.
    days = [list(column) for column in zip(*each_day[1:], strict=True)]
    sizes_text = f"{sizes[1]:,} users over {sizes[0]:,}"
    yield measured(
        f"whole daily window, seconds per changed user, {sizes_text}",
        ratios([day.per_user for day in days[1]], [day.per_user for day in days[0]]),
        "<= 1.1",
        note="; ".join(f"{_about(column[-1])}" for column in days) + "; light config",
        where=lambda: _slowest(days[0][-1], days[1][-1]),
    )
    yield measured(
        f"peak memory of a daily window, {sizes_text}",
        ratios([day.peak_bytes for day in days[1]], [day.peak_bytes for day in days[0]]),
        "<= 1.15",
        note=" and ".join(f"{max(day.peak_bytes for day in column) / 2**30:.2f} GiB" for column in days[::-1]),
    )
    yield measured(
        f"first window, seconds per user, {sizes_text}",
        [first[1].per_user / first[0].per_user],
        note="; ".join(_about(day) for day in first),
    )
    yield measured(
        f"peak memory of the first window, in which all users are new, {sizes_text}",
        [first[1].peak_bytes / first[0].peak_bytes],
        note=" and ".join(f"{day.peak_bytes / 2**30:.2f} GiB" for day in first[::-1]),
    )


def _about(day: Day) -> str:
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in day.seconds.items())
    return f"{day.prefixes:,} users changed, {1 / day.per_user:,.0f} per second ({steps})"


def _slowest(few: Day, many: Day) -> str:
    """The step that adds most to what a user costs more."""
    more = {step: many.seconds[step] / many.prefixes - few.seconds[step] / few.prefixes for step in few.seconds}
    step = max(more, key=more.__getitem__)
    return f"{step} takes {1e3 * more[step]:.3g} ms more per user"


class _Deployment:
    """A lake and a state, and a process that runs windows on request."""

    def __init__(self, root: Path, num_users: int, rounds: int) -> None:
        self.root = root / str(num_users)
        self.root.mkdir()
        source = self.root / "updater.toml"
        source.write_text(CONFIG, encoding="utf-8")
        num_days = HISTORY_DAYS + rounds + 1
        spec = SyntheticSpec(
            num_users=num_users,
            num_days=num_days,
            first_day=FIRST_DAY,
            active_share=ACTIVE_SHARE,
            events_per_active_day=EVENTS,
        )
        self.settings = load_settings(source, environ={})
        land(self.settings.paths.lake, spec)
        initialize(self.settings)

    def __enter__(self) -> "_Deployment":
        command = [sys.executable, "-m", "benchmarks.scale.ratios", str(self.settings.source)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def run(self, number: int) -> Day:
        """Run the first window, or the `number`th after it."""
        ds = FIRST_DAY + timedelta(days=HISTORY_DAYS - 1 + number)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with Peak(self.process.pid) as peak:
            self.process.stdin.write(f"{ds}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process of {self.root.name} users ended with {self.process.wait()} in {ds}.")
        return Day(**json.loads(line), peak_bytes=peak.bytes)


def main() -> None:
    """Run a window per line of standard input, each a date, and answer with a line of JSON."""
    settings = load_settings(sys.argv[1], environ={})
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        for line in sys.stdin:
            report = run_window(context, pool, date.fromisoformat(line.strip()))
            answer: dict[str, Any] = {"prefixes": report.prefixes, "seconds": report.seconds}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
