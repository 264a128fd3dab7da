"""The whole run with other seeds: `python -m benchmarks.quality seeds 8 9`. How much of a result is chance?

A seed decides first weights, the order of the pairs and the labels of a tuning step. Users that are held out, data and
tasks stay, so that only training differs.
"""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from updater.evaluation.evaluate import evaluate
from updater.evaluation.tuning import join_prompts, tunable_scenarios, tune_scenarios
from updater.pipeline.context import Context, Progress, open_context
from updater.pipeline.workers import Workers
from updater.settings import Settings
from updater.training.train import train

SYSTEMS = ("tuned", "base", "untrained")
DIFFERENCES = ("tuned-base", "base-untrained")


def run_seeds(context: Context, workers: Workers, seeds: Sequence[int], report: Path, progress: Progress) -> None:
    """Train, tune and evaluate with other seeds, one in each process, and add what was found to a report.

    Args:
        context: the deployment of configs/quality.toml.
        workers: two processes or more train as many seeds at a time.
        seeds: other ones than the report's.
        report: the JSON to add to.
        progress: told what is done.
    """
    contexts = [open_context(with_seed(context.settings, seed), context.now) for seed in seeds]
    trained = {}
    for index, model in workers.map(train_alone, [(one.settings, one.now) for one in contexts]):
        trained[index] = model
        progress("training seeds", len(trained), len(seeds))
    for index, (seed, one) in enumerate(zip(seeds, contexts, strict=True)):
        tune_scenarios(one, workers, trained[index], tunable_scenarios(one.settings), progress)
        model = join_prompts(one, trained[index])
        output = one.state("evaluation", f"seed-{seed}")
        made = evaluate(one, workers, model, systems=SYSTEMS, output=output, progress=progress).report
        found = json.loads(report.read_text())
        rows = found.get("seeds", {}) | {str(run["seed"]): _part(run) for run in (found, made)}
        found["seeds"] = dict(sorted(rows.items(), key=lambda row: int(row[0])))
        report.write_text(json.dumps(found, indent=1) + "\n")
    for part, names in (("mean", SYSTEMS), ("differences", DIFFERENCES)):
        for name in names:
            values = [row[part][name]["auc"] for row in found["seeds"].values()]
            print(f"{name:16} {' '.join(f'{value:+.4f}' for value in values)}  sd {statistics.stdev(values):.4f}")


def with_seed(settings: Settings, seed: int) -> Settings:
    """The same deployment with another seed, trained in one process: as many as there are seeds train at once."""
    training = dataclasses.replace(settings.training, seed=seed, processes=1)
    return dataclasses.replace(settings, training=training, model=dataclasses.replace(settings.model, seed=seed))


def train_alone(settings: Settings, now: datetime) -> str:
    """What `updater train` does, in this process. Returns the model's directory."""
    return train(open_context(settings, now)).model


def _part(report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a run: the means, the differences, and the families of tasks."""
    return {
        "mean": {name: report["mean"][name] for name in SYSTEMS},
        "differences": {name: report["differences"][name] for name in DIFFERENCES},
        "family": {
            family: {part: {name: systems[name] for name in SYSTEMS} for part, systems in parts.items()}
            for family, parts in report["family"].items()
        },
    }
