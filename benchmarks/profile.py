"""A flame graph of a daily window, by py-spy: `python -m benchmarks.profile`, then open build/daily.svg in a browser.

The window is `updater run` on made-up users, a fifth of whom changed, with its worker processes; the windows before it
are not in the picture. py-spy comes with the extra `dev`. Where it may not look into processes (a container without
SYS_PTRACE, for example) it says so.
"""

import argparse
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.deployment import FIRST_DAY, local_settings
from updater.pipeline.init import initialize
from updater.sources.synthetic import SyntheticSpec, land

HISTORY_DAYS = 20
PY_SPY = Path(sys.executable).with_name("py-spy")


def main() -> int:
    """Make a deployment, run its first window, and record the next one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--users", type=int, default=5_000, help="made-up users")
    parser.add_argument("--active-share", type=float, default=0.2, help="share of them with events on a day")
    parser.add_argument("--processes", type=int, default=1, help="worker processes; 0 means one per core")
    parser.add_argument("--native", action="store_true", help="also the functions of compiled libraries")
    parser.add_argument("--output", type=Path, default=Path("build/daily.svg"), help="the flame graph")
    given = parser.parse_args()
    if not PY_SPY.exists():
        parser.error("py-spy is not installed; run: pip install py-spy")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="updater-profile-") as root:
        settings = local_settings(Path(root) / "daily", given.processes)
        spec = SyntheticSpec(
            num_users=given.users, num_days=HISTORY_DAYS, first_day=FIRST_DAY, active_share=given.active_share
        )
        land(settings.paths.lake, spec)
        initialize(settings)
        last = spec.last_day
        subprocess.run(_updater(settings.source, last - timedelta(days=1)), check=True)
        record = [str(PY_SPY), "record", "--subprocesses", "--format", "flamegraph", "--output", str(given.output)]
        done = subprocess.run([*record, *["--native"] * given.native, "--", *_updater(settings.source, last)])
    if done.returncode == 0:
        print(f"Open {given.output} in a browser: width is time, a frame's children lie below it.")
    return done.returncode


def _updater(config: Path, ds: object) -> list[str]:
    return [sys.executable, "-m", "updater.cli", "run", "--config", os.fspath(config), "--ds", str(ds)]


if __name__ == "__main__":
    sys.exit(main())
