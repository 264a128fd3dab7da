"""Accuracies of each sub-task, with intervals, beside answers that know no user."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from updater.evaluation.metrics import Estimate
from updater.fidelity.llm.accuracy import mean_over_users
from updater.fidelity.schema import SUBTASKS


@dataclass(frozen=True)
class SubtaskScores:
    """One sub-task."""

    questions: int
    users: int
    accuracy: Mapping[str, Estimate]
    """By system."""
    above_no_user: Estimate
    """Accuracy from the vector minus that without a user, paired by question."""


@dataclass(frozen=True)
class UqaScores:
    """All that is scored. A question of unknown wording is counted and nothing else."""

    subtasks: Mapping[str, SubtaskScores]
    """Those that the file has questions of."""
    micro: Mapping[str, Estimate]
    """By system: over all questions of known wording, so that sub-tasks with many weigh more, as UQABench reports."""
    macro: Mapping[str, float]
    """By system: the mean over sub-tasks."""
    unknown_wording: int


def score(
    choices: Mapping[str, NDArray[np.int64]],
    gold: NDArray[np.int64],
    subtasks: NDArray[np.str_],
    users: NDArray[np.str_],
) -> UqaScores:
    """Score the systems of `choices`, of which `vector` is compared with `no user`.

    Args:
        choices: by system the chosen letter's position, shape (Q,).
        gold: that of the right letter.
        subtasks: empty where the wording is unknown.
        users: whose question each is; whole users are drawn for the intervals.
    """
    right = {name: (choice == gold).astype(float) for name, choice in choices.items()}
    found = {}
    for subtask in SUBTASKS:
        rows = subtasks == subtask
        if rows.any():
            found[subtask] = SubtaskScores(
                questions=int(rows.sum()),
                users=len(np.unique(users[rows])),
                accuracy={name: mean_over_users(each[rows], users[rows]) for name, each in right.items()},
                above_no_user=mean_over_users((right[VECTOR] - right[NO_USER])[rows], users[rows]),
            )
    known = subtasks != ""
    return UqaScores(
        subtasks=found,
        micro={name: mean_over_users(each[known], users[known]) for name, each in right.items()},
        macro={
            name: float(np.mean([each.accuracy[name].value for each in found.values()])) if found else float("nan")
            for name in right
        },
        unknown_wording=int((~known).sum()),
    )


VECTOR, NO_USER, SHUFFLED, LETTER, AS_TEXT = "vector", "no user", "another user", "commonest letter", "titles"
"""The systems: the user's vector; an adapter that was trained without vectors; the first one's adapter with the vector
of another user; the letter that was right most often among the training questions of the sub-task; the titles of the
newest items as text, without an adapter."""
