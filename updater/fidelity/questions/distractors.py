"""Wrong options, drawn by hash from pools in the order of their rank.

Which pools there are is the policy of a sub-task: with values that the user has seen where the answer lies in the past,
and without them where it lies in the future, or a reader would do worse for knowing the user.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from updater.fidelity.hashing import Keys, combined
from updater.fidelity.log.events import Bools, Ints

NUM_OPTIONS: Final = 4
NUM_POPULAR: Final = 20
"""Values from which options are filled up that the user's own do not fill."""
NUM_NEAR: Final = 6
"""Values of about the same popularity, of which three are drawn."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Values that may become wrong options."""

    allowed_QV: Bools
    most: int = NUM_OPTIONS
    """How many of them a question takes at most."""


def draw(keys_Q: Keys, gold_Q: Ints, value_keys_V: Keys, pools: Sequence[Pool], num_options: int = NUM_OPTIONS) -> Ints:
    """Options of each question: the right one, then distinct wrong ones; -1 where the pools have no more.

    Returns:
        Shape (Q, K), K being `num_options`, or the number of values if there are fewer, and at least 1.
    """
    shape = len(gold_Q), len(value_keys_V)
    width = max(1, min(num_options, shape[1]))
    options = np.full((shape[0], width), -1)
    options[:, 0] = gold_Q
    if width < 2 or not shape[0]:
        return options
    draws_QV = combined(keys_Q[:, None], value_keys_V[None, :])
    free_QV = np.ones(shape, bool)
    free_QV[np.arange(shape[0]), gold_Q] = False
    found_Q = np.ones(shape[0], np.int64)
    for pool in pools:
        allowed_QV = pool.allowed_QV & free_QV
        best = _smallest(draws_QV, allowed_QV, width - 1)
        taken_Q = np.zeros(shape[0], np.int64)
        for column in best.T:
            rows = np.flatnonzero((column >= 0) & (taken_Q < pool.most) & (found_Q < width))
            options[rows, found_Q[rows]] = column[rows]
            free_QV[rows, column[rows]] = False
            found_Q[rows] += 1
            taken_Q[rows] += 1
    return options


def popular(num_questions: int, num_values: int) -> list[Pool]:
    """The most common values, then all others."""
    first_V = np.arange(num_values) < NUM_POPULAR
    return [Pool(np.broadcast_to(allowed_V, (num_questions, num_values))) for allowed_V in (first_V, ~first_V)]


def near_in_popularity(gold_Q: Ints, allowed_QV: Bools) -> Pool:
    """Of the allowed values those whose rank of popularity is nearest to that of the right one."""
    num_values = allowed_QV.shape[1]
    distance_QV = np.abs(np.arange(num_values)[None, :] - gold_Q[:, None])
    distance_QV = np.where(allowed_QV & (distance_QV > 0), distance_QV, num_values)
    if num_values > NUM_NEAR:
        farthest_Q = np.partition(distance_QV, NUM_NEAR - 1, axis=1)[:, NUM_NEAR - 1]
        return Pool(distance_QV <= np.minimum(farthest_Q, num_values - 1)[:, None])
    return Pool(distance_QV < num_values)


def _smallest(draws_QV: Keys, allowed_QV: Bools, most: int) -> Ints:
    """Per question the allowed values with the smallest draws, in their order; -1 after the last."""
    none = np.iinfo(np.uint64).max
    masked_QV = np.where(allowed_QV, draws_QV, none)
    if masked_QV.shape[1] > most:
        columns = np.argpartition(masked_QV, most - 1, axis=1)[:, :most]
    else:
        columns = np.broadcast_to(np.arange(masked_QV.shape[1]), masked_QV.shape)
    values = np.take_along_axis(masked_QV, columns, axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    columns, values = np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
    return np.where(values == none, -1, columns).astype(np.int64)
