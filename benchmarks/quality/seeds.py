"""The run again with another seed, beside that of the report: how much of a result is chance?

A seed decides initial weights, the order of the data, dropout and what CoLES draws. Data, tasks and the users that are
held out stay, and with them all that takes no model. Of that only the bar is scored again, at the penalty that the
report's run chose, because differences are paired; and it has to come out as it did there, task by task and draw by
draw, or the seeds would not be about the same.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.quality.adding import add
from updater.evaluation.evaluation_set import EvaluationSet, evaluate_systems, load_evaluation_set
from updater.evaluation.probe import Penalty
from updater.evaluation.report import Json, make_report
from updater.evaluation.scoring import Scores, score_system
from updater.evaluation.systems.compared import Candidate, baseline_systems
from updater.evaluation.systems.vectors import VectorsFactory
from updater.labels.events import Events, open_events
from updater.labels.tasks import read_task_file
from updater.runtime.deployment import Progress, WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.store.scratch import Scratch
from updater.training.train import train

SEEDED = ("base", "fitted", "with_counts")
"""Systems that a seed changes. Soft prompts are not among them: they moved the report's mean by .00002."""
BAR = "rfm_categories"
"""What they are compared with: the same for every seed."""
PARTS = ("mean", "differences", "family")
TOLERANCE = 1e-5
"""Within which the bar has to come out again: reports have six digits, and sums differ by the processor."""


def run_seeds(
    context: WritableContext,
    pool: ProcessPool,
    seeds: Sequence[int],
    report: Path,
    progress: Progress,
    external: Callable[[int], Mapping[str, VectorsFactory]],
) -> None:
    """Train and evaluate with each seed, and put the seeds side by side into a report, beside its own.

    Args:
        context: the deployment of configs/quality.toml.
        pool: two processes or more train as many models at a time.
        seeds: of the runs.
        report: the JSON of a whole run; what there is is added after each seed.
        progress: called as work is done.
        external: makes the external systems with a seed.

    Raises:
        RuntimeError: the bar is not what it is in the report.
    """
    known: Json = json.loads(report.read_text())
    runs = {seed: with_seed(context.settings, seed) for seed in seeds if seed != known["seed"]}
    models: dict[int, str] = {}
    for index, model in pool.map(train_alone, [(settings, context.now) for settings in runs.values()]):
        models[list(runs)[index]] = model
        progress("training", len(models), len(runs))
    found: Json = {str(known["seed"]): of_report(known), **known.get("seeds", {})}
    draws, drawn = context.settings.evaluation.bootstrap, context.settings.model.seed
    with open_events(context, progress) as events:
        evaluation_set = load_evaluation_set(events)
        chosen = known["mean"][BAR]
        penalty = Penalty(chosen["inverse_penalty"], chosen["penalty_by_part"])
        bar = score_bar(events, pool, evaluation_set, penalty, progress)
        check_same(BAR, known, make_report(evaluation_set.tasks, {BAR: bar}, {}, draws, drawn))
        for seed, settings in runs.items():
            one = open_writable(settings, context.now)
            with Scratch(settings) as scratch:
                scored = evaluate_systems(
                    one,
                    pool,
                    events,
                    evaluation_set,
                    Candidate(models[seed]),
                    SEEDED,
                    scratch,
                    progress,
                    external(seed),
                )[1]
            # The same draws of users for all seeds.
            whole = make_report(evaluation_set.tasks, {**scored, BAR: bar}, {}, draws, drawn)
            found[str(seed)] = {part: whole[part] for part in PARTS}
            add(report, "seeds", found)
            print_means(seed, found[str(seed)])


def of_report(known: Json) -> Json:
    """What the seeds have in common, out of a report of all systems."""
    names = (*SEEDED, BAR)
    return {
        "mean": {name: known["mean"][name] for name in names},
        "differences": {
            pair: values for pair, values in known["differences"].items() if {*pair.split("-")} <= {*names}
        },
        "family": {
            family: {part: {name: values[name] for name in names} for part, values in parts.items()}
            for family, parts in known["family"].items()
        },
    }


def score_bar(
    events: Events, pool: ProcessPool, evaluation_set: EvaluationSet, penalty: Penalty, progress: Progress
) -> Scores:
    """Counts of categories at a known penalty: a small part of the work of choosing it again."""
    amounts = read_task_file(events.settings.evaluation.tasks).amounts
    [system] = baseline_systems(events, [BAR], amounts, evaluation_set.anchors.train, evaluation_set.days)
    return score_system(pool, system, evaluation_set.tasks, evaluation_set.rows, progress, penalty)


def check_same(system: str, known: Json, again: Json) -> None:
    """Raise RuntimeError unless a system has the same scores, on the same rows and draws, in two reports or seeds."""
    pairs = {"the mean": (known["mean"][system], again["mean"][system])}
    if "tasks" in known:
        if known["tasks"].keys() != again["tasks"].keys():
            raise RuntimeError("The report is about other tasks; make it again first.")
        pairs |= {name: (known["tasks"][name][system], again["tasks"][name][system]) for name in known["tasks"]}
    for name, (before, now) in pairs.items():
        for key in (key for key in now if not key.endswith("_per_user")):
            if before[key] != now[key] and not abs(before[key] - now[key]) <= TOLERANCE:
                raise RuntimeError(
                    f"{key} of {system}, {name}, is {now[key]} and was {before[key]}: the report is about other rows "
                    "or draws; make it again first."
                )


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
        if pair.split("-")[1] in (BAR, "fitted"):
            print(f"seed {seed}  {pair:32} {values['auc']:+.4f} +- {values['auc_se']:.4f}", flush=True)
