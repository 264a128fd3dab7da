"""AUC and KS of a binary task, with intervals that respect that a user's rows are not independent.

The paper reports AUC and KS = max |TPR - FPR| (section 4.1) and no intervals. Here whole users are drawn with
replacement, because one user gives a row for each anchor and each task.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Rows times replicates that are in memory at a time: 64 MB of weights.
_CHUNK = 8_000_000


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and scores of one task: arrays of one length, a row for each user and anchor."""

    user: NDArray[np.str_]
    label: NDArray[np.bool_]
    score: Floats

    def __post_init__(self) -> None:
        if not len(self.user) == len(self.label) == len(self.score):
            raise ValueError(f"{len(self.user)} users, {len(self.label)} labels and {len(self.score)} scores differ.")
        if not np.isfinite(self.score).all():
            raise ValueError("a score is not finite.")


@dataclass(frozen=True)
class Estimate:
    """A value with its bootstrap standard error and 95 % percentile interval."""

    value: float
    se: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Replicates:
    """AUC and KS on the rows as they are, and on each bootstrap replicate; NaN where a class is missing."""

    auc: float
    ks: float
    auc_replicates: Floats
    ks_replicates: Floats

    def estimates(self) -> tuple[Estimate, Estimate]:
        """AUC and KS with their errors and intervals."""
        return estimate(self.auc, self.auc_replicates), estimate(self.ks, self.ks_replicates)

    def minus(self, other: "Replicates") -> tuple[Estimate, Estimate]:
        """AUC and KS above those of another system, paired: both must come from the same users and seed."""
        auc = estimate(self.auc - other.auc, self.auc_replicates - other.auc_replicates)
        return auc, estimate(self.ks - other.ks, self.ks_replicates - other.ks_replicates)


def auc_and_ks(label: NDArray[np.bool_], score: Floats) -> tuple[float, float]:
    """Area under the ROC curve, where a tie counts one half, and max |TPR - FPR|; NaN if a class is missing."""
    auc, ks = _weighted(label, score, np.ones((1, len(label))))
    return float(auc[0]), float(ks[0])


def bootstrap(predictions: Predictions, replicates: int = 200, seed: int = 0) -> Replicates:
    """AUC and KS of one task on `replicates` draws of its users with replacement."""
    return mean_over_tasks({"": predictions}, replicates, seed)


def mean_over_tasks(tasks: Mapping[str, Predictions], replicates: int = 200, seed: int = 0) -> Replicates:
    """The means over tasks of AUC and KS.

    A replicate draws users once for all tasks, so that the error of the mean counts what the tasks have in common:
    a user who is hard to predict is hard in several of them. A replicate in which a task lacks a class is NaN.
    """
    users = np.unique(np.concatenate([task.user for task in tasks.values()]))
    draws = np.random.default_rng(seed).multinomial(len(users), np.full(len(users), 1 / len(users)), size=replicates)
    values = np.array([auc_and_ks(task.label, task.score) for task in tasks.values()])
    auc, ks = np.zeros(replicates), np.zeros(replicates)
    for task in tasks.values():
        column = np.searchsorted(users, task.user)
        step = max(1, _CHUNK // max(1, len(column)))
        for start in range(0, replicates, step):
            part = slice(start, start + step)
            task_auc, task_ks = _weighted(task.label, task.score, draws[part][:, column].astype(float))
            auc[part] += task_auc / len(tasks)
            ks[part] += task_ks / len(tasks)
    return Replicates(float(values[:, 0].mean()), float(values[:, 1].mean()), auc, ks)


def estimate(value: float, replicates: Floats) -> Estimate:
    """`value` with the standard deviation and the 95 % percentile interval of its replicates, NaN ones left out."""
    known = replicates[np.isfinite(replicates)]
    if len(known) < 2:
        return Estimate(value, float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(known.std(ddof=1)), float(low), float(high))


def _weighted(label: NDArray[np.bool_], score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """AUC and KS for each row of `weights` (replicates, rows)."""
    if not len(score):
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    weights = weights[:, order]
    positive = np.add.reduceat(weights * label[order], starts, axis=1)
    negative = np.add.reduceat(weights, starts, axis=1) - positive
    below_positive, below_negative = positive.cumsum(axis=1), negative.cumsum(axis=1)
    positives, negatives = below_positive[:, -1], below_negative[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = (positive * (below_negative - negative / 2)).sum(axis=1) / (positives * negatives)
        ks = np.abs(below_positive / positives[:, None] - below_negative / negatives[:, None]).max(axis=1)
    return auc, ks
