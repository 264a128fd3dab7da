"""The reader `probe`: one ridge regression for each slot, from a stored vector to the answers of the slot's question.

A linear map that is fitted in closed form to some users and asked about others reads off no more than a vector keeps
(probing; Alain and Bengio 2016, arXiv 1610.01644). What a vector without the user in it achieves in the same way is
the share that has nothing to do with the vector (control tasks; Hewitt and Liang 2019, arXiv 1909.03368).
"""

# Q questions, K options, U users, N of them that a slot is fitted to, D columns of a vector, C classes of a slot

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from updater.evaluation.metrics import Floats
from updater.fidelity.readers.asked import NO_OPTION, Asked, Int64
from updater.runtime.threads import one_thread

PENALTY = 0.001
"""Of squared weights, times the squared lengths of all standardized vectors that a slot is fitted to: in this measure
the same penalty suits a few columns and a thousand.
"""
ROUNDING = 1e-12
"""Deviation, as a share of the mean, of a column whose numbers are all the same."""
FEWEST_USERS = 20
"""That a slot is fitted to; with fewer the answer is the commonest one."""

_Vectors = Callable[[Int64], Floats]
"""The vectors that questions at some positions are answered from, (N, D)."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a reader chose."""

    choice_Q: Int64
    """Position among the options; `NO_OPTION` for questions of the users that readers are fitted to."""
    num_fallback: int = 0
    """Questions that were answered without looking at the user, because the slot had too few users to fit to."""


@one_thread()
def answer(asked: Asked, fitted: Floats, read: Floats | None = None) -> Answers:
    """Fit to the users that are there for it, and answer the questions of the others.

    Args:
        asked: the questions.
        fitted: vectors of all users, (U, D).
        read: what is read instead of `fitted` once the fit is done; another state of the same vectors.
    """
    source = fitted if read is None else read
    return _answer(asked, lambda rows: fitted[asked.user_Q[rows]], lambda rows: source[asked.user_Q[rows]])


@one_thread()
def answer_anchored(asked: Asked, vectors_QD: Floats) -> Answers:
    """The same from a vector of each question's own, (Q, D): the user under that question."""
    return _answer(asked, vectors_QD.__getitem__, vectors_QD.__getitem__)


def _answer(asked: Asked, fitted_of: _Vectors, read_of: _Vectors) -> Answers:
    choice_Q = np.full(len(asked), NO_OPTION, np.int64)
    num_fallback = 0
    for rows in asked.slot_rows:
        train, test = rows[asked.train_Q[rows]], rows[~asked.train_Q[rows]]
        if not len(test):
            continue
        classes, columns_N = np.unique(asked.gold_values_Q[train], return_inverse=True)
        targets_NC = np.eye(len(classes))[columns_N]
        if len(train) < FEWEST_USERS:
            scores_TC = np.tile(targets_NC.sum(axis=0), (len(test), 1))
            num_fallback += len(test)
        else:
            scores_TC = ridge(fitted_of(train), targets_NC, read_of(test))
        choice_Q[test] = _choose(asked, test, classes, scores_TC)
    return Answers(choice_Q, num_fallback)


def prior(asked: Asked) -> Answers:
    """Of each question the option that was right most often for the users that readers are fitted to."""
    choice_Q = np.full(len(asked), NO_OPTION, np.int64)
    for rows in asked.slot_rows:
        train, test = rows[asked.train_Q[rows]], rows[~asked.train_Q[rows]]
        classes, counts = np.unique(asked.gold_values_Q[train], return_counts=True)
        choice_Q[test] = _choose(asked, test, classes, np.tile(counts.astype(float), (len(test), 1)))
    return Answers(choice_Q)


def ridge(x_ND: Floats, y_NC: Floats, asked_TD: Floats) -> Floats:
    """Predictions (T, C) for `asked_TD` by a ridge regression with a bias, fitted to standardized columns.

    The smaller of the two systems of equations is solved: one for each column, or one for each user.
    """
    fitted, targets, asked = (torch.from_numpy(part) for part in (x_ND, y_NC, asked_TD))
    mean_D, deviation_D = fitted.mean(dim=0), fitted.std(dim=0, correction=0)
    deviation_D[deviation_D <= ROUNDING * mean_D.abs()] = 1.0
    z_ND, bias_C = (fitted - mean_D) / deviation_D, targets.mean(dim=0)
    num_users, width = z_ND.shape
    # Vectors that are all the same have no lengths, and nothing can be read off them.
    penalty = PENALTY * max(1.0, float((z_ND**2).sum()))
    if width <= num_users:
        gram = z_ND.T @ z_ND + penalty * torch.eye(width, dtype=z_ND.dtype)
        weights_DC = torch.linalg.solve(gram, z_ND.T @ (targets - bias_C))
    else:
        gram = z_ND @ z_ND.T + penalty * torch.eye(num_users, dtype=z_ND.dtype)
        weights_DC = z_ND.T @ torch.linalg.solve(gram, targets - bias_C)
    predicted: Floats = ((asked - mean_D) / deviation_D @ weights_DC + bias_C).numpy()
    return predicted


def _choose(asked: Asked, rows: Int64, classes: NDArray[np.int64], scores_TC: Floats) -> Int64:
    """The best option of each question; a value that was right for nobody in training is the last choice."""
    column_V = np.full(len(asked.values) + 1, len(classes), np.int64)
    column_V[classes] = np.arange(len(classes))
    with_none = np.concatenate([scores_TC, np.full((len(rows), 1), -np.inf)], axis=1)
    scores_TK = np.take_along_axis(with_none, column_V[asked.options_QK[rows]], axis=1)
    return asked.choose(rows, scores_TK)
