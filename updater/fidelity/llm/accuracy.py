"""How often answers are right, with an interval that respects that a user's answers are not independent."""

import numpy as np
from numpy.typing import NDArray

from updater.evaluation.metrics import Estimate, estimate

REPLICATES = 1000


def mean_over_users(values: NDArray[np.float64], users: NDArray[np.str_], seed: int = 0) -> Estimate:
    """The mean of `values`, with a 95 % percentile bootstrap interval for which whole users are drawn.

    Args:
        values: one for each answer: 1 if it is right, or a difference of two such numbers.
        users: whose question each is.
        seed: of the draws.
    """
    if not len(values):
        return Estimate(*[float("nan")] * 4)
    names, column = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(column, weights=values), np.bincount(column)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=REPLICATES)
    return estimate(float(values.mean()), (draws @ sums) / (draws @ counts))
