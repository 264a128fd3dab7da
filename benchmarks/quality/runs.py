"""The whole run again: with other seeds, and with no step of pre-training. How much of a result is chance, how much is
learned?

A seed decides initial weights, the order of the pairs and the labels of a tuning step. Data, tasks and the users that
are held out stay. Without a step there are initial weights, what is fitted, and tuned soft prompts.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.quality.adding import add, say
from updater.evaluation.evaluation_set import evaluate_systems, load_evaluation_set
from updater.evaluation.report import make_ablations
from updater.evaluation.scoring import Scores
from updater.evaluation.systems import Candidate
from updater.evaluation.tuning import join_prompts, tunable_scenarios, tune_scenarios
from updater.labels.events import open_events
from updater.runtime.deployment import Progress, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.store.scratch import Scratch
from updater.training.train import train

SYSTEMS = ("tuned", "base")


def run_again(
    context: WritableContext, pool: ProcessPool, seeds: Sequence[int], report: Path, progress: Progress
) -> None:
    """Train, tune and evaluate again, and add what was found to a report after each run.

    Args:
        context: the deployment of configs/quality.toml.
        pool: two processes or more train as many models at a time.
        seeds: of the runs; the others are compared with the first.
        report: the JSON to add to.
        progress: called as work is done.
    """
    first = with_seed(context.settings, seeds[0])
    runs = {f"seed {seeds[0]}": first, "without a step": without_a_step(first)}
    runs |= {f"seed {seed}": with_seed(context.settings, seed) for seed in seeds[1:]}
    models: dict[int, str] = {}
    for index, model in pool.map(train_alone, [(settings, context.now) for settings in runs.values()]):
        models[index] = model
        progress("training", len(models), len(runs))
    scored: dict[str, Mapping[str, Scores]] = {}
    with open_events(context, progress) as events:
        evaluation_set = load_evaluation_set(events)
        for index, (name, settings) in enumerate(runs.items()):
            one = open_writable(settings, context.now)
            tune_scenarios(one, pool, models[index], tunable_scenarios(settings), progress)
            candidate = Candidate(join_prompts(one, models[index]))
            with Scratch(settings) as scratch:
                scored[name] = evaluate_systems(
                    one, pool, events, evaluation_set, candidate, SYSTEMS, scratch, progress
                )[1]
            _add(report, scored, next(iter(runs)), context.settings)


def with_seed(settings: Settings, seed: int) -> Settings:
    """The same deployment with another seed, trained in one process: as many as there are processes train at once."""
    training = dataclasses.replace(settings.training, seed=seed, processes=1)
    return dataclasses.replace(settings, training=training, model=dataclasses.replace(settings.model, seed=seed))


def without_a_step(settings: Settings) -> Settings:
    """The same deployment with pre-training that changes no weight."""
    training = dataclasses.replace(settings.training, steps=1, learning_rate=0.0, layers_steps=0)
    return dataclasses.replace(settings, training=training)


def train_alone(settings: Settings, now: datetime) -> str:
    """What `updater model train` does, in this process. Returns the model's directory."""
    return train(open_writable(settings, now)).model


def _add(report: Path, scored: Mapping[str, Mapping[str, Scores]], first: str, settings: Settings) -> None:
    draws, seed = settings.evaluation.bootstrap, settings.model.seed
    made = {
        system: make_ablations(
            {run: systems[system] for run, systems in scored.items()}, dict.fromkeys(scored, first), draws, seed
        )
        for system in SYSTEMS
    }
    add(report, "runs", {run: {system: made[system][run] for system in SYSTEMS} for run in scored})
    for run in scored:
        for system in SYSTEMS:
            say(f"{run}, {system}", made[system][run])
