"""What every part of the benchmark does with what it found: add it to the report, and say it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add(report: Path, part: str, found: Mapping[str, Any]) -> None:
    """Write `found` as a part of a report.json; the other parts stay."""
    known = json.loads(report.read_text())
    report.write_text(json.dumps(known | {part: found}, indent=1) + "\n")


def say(name: str, compared: Mapping[str, Any]) -> None:
    """Print a mean AUC and its difference to the reference, of `updater.evaluation.report.make_ablations`."""
    difference = compared["difference"]
    print(f"{name:40} {compared['auc']:.4f} {difference['auc']:+.4f} +- {difference['auc_se']:.4f}", flush=True)
