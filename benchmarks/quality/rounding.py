"""What rounded online embeddings cost: probes that were fitted to the exact ones score the rounded ones.

That is what happens in production, where a model learns from offline rows. Read on the validation anchor.
"""

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from benchmarks.quality.seeds import train_alone
from updater.domain.values import EmbeddingFormat
from updater.evaluation.evaluation_set import evaluate_systems, load_evaluation_set
from updater.evaluation.metrics import Predictions
from updater.evaluation.probe import Penalty, logistic_path
from updater.evaluation.report import Json, make_report
from updater.evaluation.scoring import DEFAULT_PENALTY, Scores, TaskRows
from updater.evaluation.systems.compared import Candidate, System
from updater.labels.events import open_events
from updater.labels.tasks import Task
from updater.runtime.deployment import Progress, WritableContext
from updater.runtime.process_pool import ProcessPool
from updater.store.online.rounding import rounded
from updater.store.scratch import Scratch

BASE = "base"


def run_rounding(context: WritableContext, pool: ProcessPool, progress: Progress) -> Json:
    """Means and paired differences of the mean AUC, of `base` in each format."""
    candidate = Candidate(train_alone(context.settings, context.now))
    with open_events(context, progress) as events, Scratch(context.settings) as scratch:
        found = load_evaluation_set(events, "validation")
        [base], scored = evaluate_systems(context, pool, events, found, candidate, [BASE], scratch, progress)
        scores = rounded_scores(base, found.tasks, found.rows, scored[BASE].penalty or DEFAULT_PENALTY)
    report = make_report(found.tasks, scores, {}, context.settings.evaluation.bootstrap, context.settings.model.seed)
    return {part: report[part] for part in ("mean", "differences")}


def rounded_scores(
    system: System, tasks: Sequence[Task], rows: Mapping[str, TaskRows], penalty: Penalty
) -> dict[EmbeddingFormat, Scores]:
    """Scores of test rows with their embeddings in each format, by probes fitted to exact training rows.

    Args:
        system: a system of embeddings, whose first part they are.
        tasks: what is asked.
        rows: of each task.
        penalty: of the probes.
    """
    predictions: dict[EmbeddingFormat, dict[str, Predictions]] = {form: {} for form in get_args(EmbeddingFormat)}
    for task in tasks:
        one = rows[task.name]
        parts = system.parts(task, one.table)
        features, widths = np.concatenate(parts, axis=1), [part.shape[1] for part in parts]
        [score] = logistic_path(features[one.train], one.label[one.train], [penalty], widths)
        exact = np.ascontiguousarray(parts[0][one.test], np.float32)
        for form, found in predictions.items():
            seen = np.column_stack([rounded(exact, form), *(other[one.test] for other in parts[1:])])
            found[task.name] = Predictions(one.user[one.test], one.label[one.test], score(seen))
    return {form: Scores(penalty, found) for form, found in predictions.items()}
