"""A model on sparse shoppers whose texts are codes, beside counts: `python -m benchmarks.codes`.

Lands the made-up log of `updater.sources.codes` below --work, trains with `updater model train` for --steps steps, and
has `updater model evaluate` compare it. Writes report.json beside this file, or into --to DIR, and prints the tables of
the page. What was landed, trained or embedded before is found there.
"""

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.product import command, cpu_seconds, paths_below
from benchmarks.report import about
from updater.lake import partitions
from updater.sources.codes import CodesSpec, land

HERE = Path(__file__).parent
CONFIG = HERE / "updater.toml"
SYSTEMS = ("base", "fitted", "text", "with_counts", "rfm", "rfm_categories", "rfm_decayed", "recency")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codes", description=__doc__)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7, help="of the log and of the model")
    parser.add_argument("--to", type=Path, default=HERE, help="directory for report.json")
    parser.add_argument("--work", type=Path, default=Path("build/codes"), help="directory for the lake and the state")
    given = parser.parse_args()
    begin, cpu, machine = perf_counter(), cpu_seconds(), about()
    spec = CodesSpec(seed=given.seed, num_users=given.users)
    root = (given.work / f"{given.users}-{given.seed}").resolve()
    if not partitions.has_landed(str(root / "lake" / "line"), spec.last_day):
        land(str(root / "lake"), spec)
    environ = {
        **paths_below(root),
        "UPDATER_TRAINING__STEPS": str(given.steps),
        "UPDATER_TRAINING__SEED": str(given.seed),
        "UPDATER_MODEL__SEED": str(given.seed),
    }
    trained = command(CONFIG, environ, "model", "train")
    evaluated = command(
        CONFIG, environ, "model", "evaluate", "--model", trained["model"], "--systems", ",".join(SYSTEMS)
    )
    report = {
        "command": f"python -m benchmarks.codes --users {given.users} --steps {given.steps} --seed {given.seed}",
        **machine,
        "seed": given.seed,
        "users": given.users,
        "steps": given.steps,
        "seconds": round(perf_counter() - begin),
        "cpu_seconds": round(cpu_seconds() - cpu),
        "rows": {task: systems["base"]["rows"] for task, systems in evaluated["report"]["tasks"].items()},
        **{part: evaluated["report"][part] for part in ("mean", "differences")},
    }
    given.to.mkdir(parents=True, exist_ok=True)
    (given.to / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(tables(report))
    print(f"\n{report['seconds']} s, {report['cpu_seconds']} CPU seconds")


def tables(report: dict[str, Any]) -> str:
    """Means and paired differences as Markdown."""
    lines = ["| system | AUC | KS | CPU ms per user | bytes per user |", "|---|---|---|---|---|"]
    for system, found in report["mean"].items():
        ms, size = found["cpu_ms_per_user"], found["bytes_per_user"]
        cost = ("–" if ms is None else f"{ms:.2f}", "–" if size is None else f"{size:,}")
        lines.append(f"| `{system}` | {_with_error(found, 'auc')} | {_with_error(found, 'ks')} | {' | '.join(cost)} |")
    lines += ["", "| difference | of AUC | of KS |", "|---|---|---|"]
    lines += [
        f"| {pair} | {_with_error(found, 'auc', '+')} | {_with_error(found, 'ks', '+')} |"
        for pair, found in report["differences"].items()
    ]
    return "\n".join(lines)


def _with_error(found: dict[str, Any], metric: str, sign: str = "") -> str:
    return f"{found[metric]:{sign}.4f} ± {found[f'{metric}_se']:.4f}"


if __name__ == "__main__":
    main()
