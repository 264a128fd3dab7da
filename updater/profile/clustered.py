"""Shares of right answers by day, with standard errors that count a user's answers as one draw.

A user answers many questions, on many days, and these are not independent. The error of a ratio of sums over users is
that of its linearisation (Cochran, Sampling Techniques, section 6.4): how far each user's answers move it.
"""

# A answers, D days, U users

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from updater.profile.utility import DISCOUNT

DIGITS = 4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A mean over answers, or a difference of two."""

    value: float
    error: float | None
    """Its standard error; None of fewer than two users."""


def discounted_share(users: Sequence[Sequence[str]], answers: Sequence[Floats]) -> Share | None:
    """Mean over the days with answers of their means; each further one of these days weighs `DISCOUNT` less.

    Args:
        users: per day whose answer each is.
        answers: per day what each is worth: 1 right, 0 wrong, or a difference of two such numbers.

    Returns:
        The mean with its error; None without an answer.
    """
    asked = [(own, values) for own, values in zip(users, answers, strict=True) if len(values)]
    if not asked:
        return None
    weights_D = DISCOUNT ** np.arange(len(asked))
    weights_D /= weights_D.sum()
    means_D = np.array([values.mean() for _, values in asked])
    moved: dict[str, float] = {}
    for (own, values), weight, mean in zip(asked, weights_D, means_D, strict=True):
        for user, value in zip(own, (weight * (values - mean) / len(values)).tolist(), strict=True):
            moved[user] = moved.get(user, 0.0) + value
    num_users = len(moved)
    squares = sum(value**2 for value in moved.values())
    error = float(np.sqrt(squares * num_users / (num_users - 1))) if num_users > 1 else None
    return Share(round(float(weights_D @ means_D), DIGITS), None if error is None else round(error, DIGITS))
