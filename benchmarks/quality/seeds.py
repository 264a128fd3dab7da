"""The whole run again with other seeds: how much of a result is chance?

A seed decides initial weights, the order of the pairs, the labels of a tuning step and what CoLES draws. Data, tasks
and the users that are held out stay.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.quality.adding import add
from updater.evaluation.controls import CONTROLS
from updater.evaluation.evaluation_set import evaluate_systems, load_evaluation_set
from updater.evaluation.report import Json, make_report
from updater.evaluation.scoring import Scores
from updater.evaluation.systems import Candidate
from updater.evaluation.vectors import VectorsFactory
from updater.labels.events import open_events
from updater.runtime.deployment import Progress, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.store.scratch import Scratch
from updater.training.train import train
from updater.training.tune import join_prompts, tunable_scenarios, tune_scenarios

SEEDED = ("tuned", "base", *CONTROLS, "with_counts")
"""Systems that a seed changes."""
COUNTS = ("rfm_categories", "rfm_decayed")
"""What they are compared with: the same for every seed."""


def run_seeds(
    context: WritableContext,
    pool: ProcessPool,
    seeds: Sequence[int],
    report: Path,
    progress: Progress,
    external: Callable[[int], Mapping[str, VectorsFactory]],
) -> None:
    """Train, tune and evaluate again with each seed, and put the seeds side by side into a report.

    Args:
        context: the deployment of configs/quality.toml.
        pool: two processes or more train as many models at a time.
        seeds: of the runs.
        report: the JSON to add to, after each run.
        progress: called as work is done.
        external: makes the external systems with a seed.
    """
    runs = {seed: with_seed(context.settings, seed) for seed in seeds}
    models: dict[int, str] = {}
    for index, model in pool.map(train_alone, [(settings, context.now) for settings in runs.values()]):
        models[seeds[index]] = model
        progress("training", len(models), len(runs))
    found: Json = {}
    counts: dict[str, Scores] = {}
    draws, drawn = context.settings.evaluation.bootstrap, context.settings.model.seed
    with open_events(context, progress) as events:
        evaluation_set = load_evaluation_set(events)
        for seed, settings in runs.items():
            one = open_writable(settings, context.now)
            tune_scenarios(one, pool, models[seed], tunable_scenarios(settings), progress)
            candidate = Candidate(join_prompts(one, models[seed]))
            names = [*SEEDED, *(name for name in COUNTS if name not in counts)]
            with Scratch(settings) as scratch:
                scored = evaluate_systems(
                    one, pool, events, evaluation_set, candidate, names, scratch, progress, external(seed)
                )[1]
            counts |= {name: scored.pop(name) for name in COUNTS if name in scored}
            # The same draws of users for all seeds.
            whole = make_report(evaluation_set.tasks, scored | counts, {}, draws, drawn)
            found[str(seed)] = {part: whole[part] for part in ("mean", "differences", "family")}
            add(report, "seeds", found)
            print_means(seed, found[str(seed)])


def with_seed(settings: Settings, seed: int) -> Settings:
    """The same deployment with another seed, trained in one process: as many as there are processes train at once."""
    training = dataclasses.replace(settings.training, seed=seed, processes=1)
    return dataclasses.replace(settings, training=training, model=dataclasses.replace(settings.model, seed=seed))


def train_alone(settings: Settings, now: datetime) -> str:
    """What `updater model train` does, in this process. Returns the model's directory."""
    return train(open_writable(settings, now)).model


def print_means(seed: int, found: Json) -> None:
    """Print the means of a seed, and the differences to counts and to no training."""
    for system, values in found["mean"].items():
        print(f"seed {seed}  {system:16} {values['auc']:.4f} +- {values['auc_se']:.4f}", flush=True)
    for pair, values in found["differences"].items():
        if pair.split("-")[1] in (*COUNTS, "fitted"):
            print(f"seed {seed}  {pair:32} {values['auc']:+.4f} +- {values['auc_se']:.4f}", flush=True)
