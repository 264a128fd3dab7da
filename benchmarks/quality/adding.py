"""What every part of the benchmark does with what it found: add it to the report, and say it."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add(report: Path, part: str, found: Any) -> None:
    """Write `found` as a part of a report.json; the other parts stay."""
    known = json.loads(report.read_text())
    report.write_text(json.dumps(known | {part: found}, indent=1) + "\n")


def say(name: str, compared: Mapping[str, Any]) -> None:
    """Print a mean AUC and its difference to the reference, of `updater.evaluation.report.make_ablations`."""
    difference = compared["difference"]
    print(f"{name:40} {compared['auc']:.4f} {difference['auc']:+.4f} +- {difference['auc_se']:.4f}", flush=True)


def commit() -> str:
    """The commit of the checkout that the benchmark is run from; empty without one."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
