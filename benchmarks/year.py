"""Many daily windows with weekly maintenance: files, bytes and CPU seconds per window must not grow with the days.

Not a part of `make bench`, because it takes minutes: `python -m benchmarks.year --days 365 --users 150`. The clock of
the windows is simulated, two hours after each day's end, so that graces pass as they would. Writes its table beside
this file.
"""

import argparse
import dataclasses
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from updater.pipeline.compact.run import maintain
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings
from updater.sources.synthetic import SyntheticSpec, land
from updater.state.bucket_files import bucket_files

HERE = Path(__file__).resolve().parent
FIRST_DAY = date(2025, 1, 1)
MAINTAIN_EVERY = 7
NUM_BUCKETS = 4
NUM_SCENARIOS = 2
STEP = 15
"""Windows per row of the table."""
PARTS = ("events", "summaries", "offline", "texts", "changes", "rejected", "maintenance")


@dataclass(frozen=True)
class Row:
    """Medians over the windows that end with number `last`."""

    last: int
    cpu_seconds: float
    wall_seconds: float
    maintain_cpu_seconds: float
    files_read: int
    """Event, summary and text files that the next window opens."""
    files: int
    """All files below PARTS of the state."""
    megabytes: float
    megabytes_events: float
    unmaintained_files: int
    """Files that windows made so far, had none been merged or removed."""


def measure(num_days: int, num_users: int, history_days: int, maintained: bool = True) -> tuple[list[Row], int]:
    """Run the windows. Returns a row per STEP windows, and the differences that a full verification found."""
    with TemporaryDirectory(prefix="updater-bench-") as root:
        settings = _settings(Path(root), history_days)
        spec = SyntheticSpec(num_users=num_users, num_days=num_days, first_day=FIRST_DAY)
        initialize(settings)
        rows, spent, upkeep, made = [], [], [0.0], 0
        for number in range(num_days):
            ds = FIRST_DAY + timedelta(days=number)
            land(settings.paths.lake, spec, ds, ds)
            context = _at(settings, ds, hours=2)
            before = len(_files(context))
            cpu, wall = time.process_time(), time.perf_counter()
            with ProcessPool(settings, context.now) as pool:
                run_window(context, pool, ds)
            spent.append((time.process_time() - cpu, time.perf_counter() - wall))
            made += len(_files(context)) - before
            if maintained and (number + 1) % MAINTAIN_EVERY == 0:
                cpu = time.process_time()
                maintain(_at(settings, ds, hours=3))
                upkeep.append(time.process_time() - cpu)
            if (number + 1) % STEP == 0:
                rows.append(_row(context, number + 1, spent, upkeep, made))
                print(rows[-1], flush=True)
                spent, upkeep = [], [0.0]
        report = verify(_at(settings, ds, hours=4), None)
        print(f"{report.users} users verified, {len(report.differences)} differences", flush=True)
        return rows, len(report.differences)


def _row(context: WritableContext, last: int, spent: list[tuple[float, float]], upkeep: list[float], made: int) -> Row:
    files = _files(context)
    events = [size for path, size in files.items() if path.startswith(context.layout.path("events"))]
    return Row(
        last=last,
        cpu_seconds=round(median(cpu for cpu, _ in spent), 2),
        wall_seconds=round(median(wall for _, wall in spent), 2),
        maintain_cpu_seconds=round(max(upkeep), 2),
        files_read=_files_read(context, FIRST_DAY + timedelta(days=last - 1)),
        files=len(files),
        megabytes=round(sum(files.values()) / 1e6, 1),
        megabytes_events=round(sum(events) / 1e6, 2),
        unmaintained_files=made,
    )


def _files(context: WritableContext) -> dict[str, int]:
    found = (path for part in PARTS for path in Path(context.layout.path(part)).rglob("*") if path.is_file())
    return {str(path): path.stat().st_size for path in found}


def _files_read(context: WritableContext, ds: date) -> int:
    buffer_days = context.settings.buffer.days
    paths = {
        file.path
        for modality in context.settings.modalities
        for file in context.event_files(modality.name, ds)
        if modality.kind == "snapshot" or file.ds > ds - timedelta(days=buffer_days)
    }
    summaries = sum(
        len(bucket_files(context.layout.summaries(), bucket)) for bucket in range(context.settings.buffer.num_buckets)
    )
    segments = sum(1 for _ in Path(context.layout.path("texts")).rglob("*.arrow"))
    return len(paths) + summaries + segments


def _at(settings: Settings, ds: date, hours: int) -> WritableContext:
    """A context whose clock is so many hours after the end of `ds`."""
    context = open_writable(settings)
    return dataclasses.replace(context, now=context.window(ds).as_of + timedelta(hours=hours))


def _settings(root: Path, history_days: int) -> Settings:
    """The local config with fewer buckets and scenarios, everything below `root`, and one process."""
    config = (HERE.parent / "configs" / "local.toml").read_text(encoding="utf-8")
    config = "[[scenarios]]".join(config.split("[[scenarios]]")[: NUM_SCENARIOS + 1])
    config = config.replace("../feature_repo", str(HERE.parent / "feature_repo")).replace('"../', '"')
    path = root / "updater.toml"
    path.write_text(
        config.replace("sqlite:///../", "sqlite:///")
        + f"\n[run]\nprocesses = 1\n[retention]\nhistory_days = {history_days}\nembedding_days = {history_days}\n",
        encoding="utf-8",
    )
    return load_settings(path, environ={"UPDATER_BUFFER__NUM_BUCKETS": str(NUM_BUCKETS)})


def _page(rows: list[Row], differences: int, command: str) -> str:
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, cwd=HERE, check=False).stdout.strip()
    names = [field.name for field in dataclasses.fields(Row)]
    lines = [f"| {' | '.join(str(getattr(row, name)) for name in names)} |" for row in rows]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return "\n".join(
        [
            "# Daily windows over a year",
            "",
            f"`{command}`, commit {commit}, {machine}. Seconds are medians of {STEP} windows; the buffer is full from",
            f"window 90 on. `updater state compact` ran after every {MAINTAIN_EVERY}th window; its CPU seconds are the",
            f"largest of those windows. {NUM_BUCKETS} buckets, {NUM_SCENARIOS} scenarios. At the end `verify --all`",
            f"found {differences} differences.",
            "",
            f"| {' | '.join(name.replace('_', ' ') for name in names)} |",
            f"|{'---:|' * len(names)}",
            *lines,
            "",
        ]
    )


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.year", description=__doc__)
    parser.add_argument("--days", type=int, default=365, help="daily windows")
    parser.add_argument("--users", type=int, default=300, help="made-up users")
    parser.add_argument(
        "--history-days",
        type=int,
        default=30,
        help="days whose windows can be computed again, and whose embeddings all stay",
    )
    parser.add_argument("--without-maintenance", action="store_true", help="for comparison; prints only")
    given = parser.parse_args()
    rows, differences = measure(given.days, given.users, given.history_days, not given.without_maintenance)
    if not given.without_maintenance:
        command = "python -m benchmarks.year " + " ".join(sys.argv[1:])
        Path(__file__).with_suffix(".md").write_text(_page(rows, differences, command), encoding="utf-8")


if __name__ == "__main__":
    main()
