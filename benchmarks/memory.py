"""Peak memory of `updater run` on many made-up users: they stream through in buckets."""

import json
import resource
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.daily import FIRST_DAY, write_config
from updater.pipeline.setup import initialise
from updater.sources.synthetic import SyntheticSpec, land

HISTORY_DAYS = 14
TARGET_GIB = 4.0


def measure(num_users: int = 100_000, active_share: float = 0.05) -> list[dict[str, Any]]:
    """Peak memory of the first window and of a daily window, each in a process of its own with all its workers."""
    rows = []
    with TemporaryDirectory(prefix="updater-memory-") as root:
        settings = write_config(Path(root), "memory", processes=0)
        spec = SyntheticSpec(num_users=num_users, num_days=HISTORY_DAYS, first_day=FIRST_DAY, active_share=active_share)
        last = FIRST_DAY + timedelta(days=HISTORY_DAYS - 1)
        land(settings.paths.lake, spec, FIRST_DAY, last)
        initialise(settings)
        for ds in (last - timedelta(days=1), last):
            report, gib = _run(settings.source, ds.isoformat())
            rows.append(
                {
                    "name": f"peak memory, `updater run` on {num_users:,} users, {report['prefixes']:,} changed, GiB",
                    "ratio": round(gib, 2),
                    "target": f"<= {TARGET_GIB}",
                    "met": gib <= TARGET_GIB,
                    "spread": None,
                    "detail": {"seconds": report["seconds"]},
                }
            )
    return rows


def _run(config: Path, ds: str) -> tuple[dict[str, Any], float]:
    """Run a window under a parent that adds up what its largest process and all its workers held at their peaks."""
    code = "import sys; from benchmarks.memory import watched; watched(sys.argv[1:])"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            sys.executable,
            "-m",
            "updater.cli",
            "run",
            "--config",
            str(config),
            "--ds",
            ds,
            "--json",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    report, peak = done.stdout.strip().splitlines()
    return json.loads(report), float(peak)


def watched(command: list[str]) -> None:
    """Run `command`, print its output and then the peak of its processes' memory together, in GiB."""
    import psutil

    peak = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        family = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, sum(_held(process) for process in [family, *_children(family)]))
            try:
                child.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
        output = child.stdout.read() if child.stdout else ""
    peak = max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    print(output.strip())
    print(peak / 2**30)


def _children(process: Any) -> list[Any]:
    import psutil

    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _held(process: Any) -> int:
    """Proportional share of memory: pages that forked workers share count once."""
    import psutil

    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


if __name__ == "__main__":
    for row in measure(*(int(argument) for argument in sys.argv[1:2])):
        print(json.dumps(row))
