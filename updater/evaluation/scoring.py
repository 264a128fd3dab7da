"""A probe for each system and task: fitted to training rows, its penalty chosen on validation, its scores for the test.

Held-out users are in no training row. The penalty is one for all tasks of a system: chosen for each task, it would be
chosen by noise. Where a system's features have several parts, so is whether it is the columns or the parts that are
taken for alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from updater.errors import ConfigError
from updater.evaluation.metrics import Floats, Predictions, auc_and_ks
from updater.evaluation.probe import Penalty, Widths, fit_boosting, logistic_path
from updater.evaluation.systems.compared import System
from updater.evaluation.systems.costs import Cost
from updater.labels.split import is_held_out
from updater.labels.tasks import Task
from updater.runtime.deployment import Progress, no_progress
from updater.runtime.process_pool import ProcessPool

PENALTIES = tuple(Penalty(inverse) for inverse in (0.0005, 0.002, 0.02, 0.2))
"""Penalties that are tried, the strongest first."""
PENALTIES_BY_PART = tuple(Penalty(inverse, by_part=True) for inverse in (0.0005, 0.01, 0.1, 0.5, 2.0))
"""Tried as well where features have several parts."""
DEFAULT_PENALTY = Penalty(0.02)
"""Where there is no validation anchor."""
TASKS_PER_ROUND = 4
"""Tasks of each process whose features are in memory at a time."""


@dataclass(frozen=True, eq=False)
class TaskRows:
    """The rows of a task and their parts: `train` is without held-out users."""

    table: pa.Table
    user: NDArray[np.str_]
    label: NDArray[np.bool_]
    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    test: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scores:
    """A system's scores."""

    penalty: Penalty | None
    """The one that was chosen; None if there was nothing to choose."""
    predictions: dict[str, Predictions]
    """Test rows of each task."""
    cost: Cost | None = None
    """Of a user; None if it was not measured."""

    def held_out_predictions(self) -> dict[str, Predictions]:
        """Those of users that no probe was fitted to."""
        parts = {}
        for name, found in self.predictions.items():
            held_out = is_held_out(found.user.tolist())
            parts[name] = Predictions(found.user[held_out], found.label[held_out], found.score[held_out])
        return parts


def part_rows(
    labels: Mapping[str, pa.Table], train: Sequence[date], validation: Sequence[date], test: Sequence[date]
) -> dict[str, TaskRows]:
    """The rows of each task, apart. Raises ConfigError if the labels of a part are all alike."""
    found = {}
    for name, table in labels.items():
        user = np.array(table["user_id"].to_pylist(), dtype=str)
        label = table["label"].to_numpy().astype(bool)
        anchor = table["anchor"].to_numpy()
        masks = [np.isin(anchor, np.array(days, dtype="datetime64[D]")) for days in (train, validation, test)]
        rows = TaskRows(table, user, label, masks[0] & ~is_held_out(user.tolist()), masks[1], masks[2])
        parts = (("training", rows.train, train), ("validation", masks[1], validation), ("test", masks[2], test))
        for part, mask, days in parts:
            if days and len(set(label[mask].tolist())) < 2:
                raise ConfigError(
                    f"task {name!r}: all {int(mask.sum())} labels of {part} are the same; "
                    "choose other anchors, or drop the task."
                )
        found[name] = rows
    return found


def score_system(
    pool: ProcessPool,
    system: System,
    tasks: Sequence[Task],
    rows: Mapping[str, TaskRows],
    progress: Progress = no_progress,
    penalty: Penalty | None = None,
) -> Scores:
    """Fit and score all tasks, several at a time; a penalty that is given is not chosen."""
    choose = penalty is None and not system.boosted and all(one.validation.any() for one in rows.values())
    given = None if choose else penalty or DEFAULT_PENALTY
    scores: dict[str, list[tuple[Floats, Floats]]] = {}
    for done, (task, found) in enumerate(_score_all(pool, system, tasks, rows, given)):
        scores[task.name] = found
        progress(f"probing {system.name}", done + 1, len(tasks))
    best = 0
    if choose:
        num_tried = min(map(len, scores.values()))
        tried = [{name: found[place][0] for name, found in scores.items()} for place in range(num_tried)]
        best = int(np.argmax([_mean_auc(rows, one) for one in tried]))
        given = (*PENALTIES, *PENALTIES_BY_PART)[best]
    predictions = {
        task.name: Predictions(
            rows[task.name].user[rows[task.name].test],
            rows[task.name].label[rows[task.name].test],
            scores[task.name][best][1],
        )
        for task in tasks
    }
    return Scores(None if system.boosted else given, predictions, system.cost)


def _score_all(
    pool: ProcessPool, system: System, tasks: Sequence[Task], rows: Mapping[str, TaskRows], given: Penalty | None
) -> Iterator[tuple[Task, list[tuple[Floats, Floats]]]]:
    """Scores of validation and test rows with the penalty that is given, or with each of those that are tried."""
    size = TASKS_PER_ROUND * pool.num_processes
    for start in range(0, len(tasks), size):
        part = tasks[start : start + size]
        jobs = []
        for task in part:
            one = rows[task.name]
            parts = system.parts(task, one.table)
            features, widths = np.concatenate(parts, axis=1), tuple(part.shape[1] for part in parts)
            # Of a single part all columns are alike either way.
            tried = PENALTIES if len(parts) == 1 else (*PENALTIES, *PENALTIES_BY_PART)
            fitted = None if system.boosted else (given,) if given else tried
            apart = features[one.train], one.label[one.train], features[one.validation], features[one.test]
            jobs.append((*apart, fitted, widths))
        for index, found in pool.map(fit_and_score, jobs):
            yield part[index], found


def fit_and_score(
    train: Floats,
    label: NDArray[np.bool_],
    validation: Floats,
    test: Floats,
    penalties: Sequence[Penalty] | None,
    widths: Widths = (),
) -> list[tuple[Floats, Floats]]:
    """Scores of validation and test rows by a linear probe for each penalty, or by boosting if there are none."""
    scorers = (
        iter([fit_boosting(train, label)]) if penalties is None else logistic_path(train, label, penalties, widths)
    )
    return [(score(validation) if len(validation) else np.zeros(0), score(test)) for score in scorers]


def _mean_auc(rows: Mapping[str, TaskRows], scores: Mapping[str, Floats]) -> float:
    found = [auc_and_ks(rows[name].label[rows[name].validation], score)[0] for name, score in scores.items()]
    return float(np.mean(found))
