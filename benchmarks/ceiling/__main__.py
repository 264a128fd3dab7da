"""Counts beside the best possible AUC of a made-up population: `python -m benchmarks.ceiling`.

Writes report.json beside this file, or into --to DIR, and prints the table of the README.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter

from benchmarks.ceiling.evaluation import TEST_ANCHOR, TRAIN_ANCHORS, evaluate, table
from benchmarks.report import about
from updater.sources.population import HISTORY_DAYS, PopulationSpec


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ceiling", description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="directory for report.json")
    given = parser.parse_args()
    begin, machine = perf_counter(), about()
    found = evaluate(PopulationSpec(seed=given.seed, num_users=given.users))
    report = {
        "command": f"python -m benchmarks.ceiling --users {given.users} --seed {given.seed}",
        **machine,
        "seed": given.seed,
        "users": given.users,
        "history_days": HISTORY_DAYS,
        "train_anchors": TRAIN_ANCHORS,
        "test_anchor": TEST_ANCHOR,
        "seconds": round(perf_counter() - begin),
        **found,
    }
    given.to.mkdir(parents=True, exist_ok=True)
    (given.to / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))
    print(f"\n{report['seconds']} s")


if __name__ == "__main__":
    main()
