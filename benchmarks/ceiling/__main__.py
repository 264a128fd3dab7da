"""Counts beside the best possible AUC of a made-up population: `python -m benchmarks.ceiling`.

With --steps the product's model stands beside them, trained for so many steps, and what it is compared with. Writes
report.json beside this file, or into --to DIR, and prints the table of the README.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter

from benchmarks.ceiling.evaluation import TEST_ANCHOR, TRAIN_ANCHORS, evaluate, table
from benchmarks.product import cpu_seconds, named
from benchmarks.report import about
from updater.sources.population import HISTORY_DAYS, PopulationSpec


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ceiling", description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent, help="directory for report.json")
    parser.add_argument("--steps", type=int, default=0, help="of training the product's model; 0: it is left out")
    parser.add_argument(
        "--beside", action="append", default=[], type=named, metavar="NAME=DIR", help="a further model; repeatable"
    )
    parser.add_argument("--work", type=Path, default=Path("build/ceiling"), help="directory for the lake and the state")
    given = parser.parse_args()
    begin, cpu, machine = perf_counter(), cpu_seconds(), about()
    spec = PopulationSpec(seed=given.seed, num_users=given.users)
    command = f"python -m benchmarks.ceiling --users {given.users} --seed {given.seed}"
    further = {}
    if given.steps:
        from benchmarks.ceiling.product import product_systems

        command += f" --steps {given.steps}"
        further = product_systems(spec, given.steps, given.work, dict(given.beside))
    found = evaluate(spec, further)
    report = {
        "command": command,
        **machine,
        "seed": given.seed,
        "users": given.users,
        "history_days": HISTORY_DAYS,
        "train_anchors": TRAIN_ANCHORS,
        "test_anchor": TEST_ANCHOR,
        "seconds": round(perf_counter() - begin),
        "cpu_seconds": round(cpu_seconds() - cpu),
        **found,
    }
    given.to.mkdir(parents=True, exist_ok=True)
    (given.to / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))
    print(f"\n{report['seconds']} s, {report['cpu_seconds']} CPU seconds")


if __name__ == "__main__":
    main()
