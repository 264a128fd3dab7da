"""How well questions were answered, with intervals that respect that one user is asked many questions.

Accuracy stands beside that of the prior, which knows no user, and the lift is the share of what the prior gets wrong
that is answered right: (accuracy - prior) / (1 - prior). Whole users are drawn with replacement, once for all systems
and sub-tasks, so that differences are paired. UQABench (arXiv 2502.19178) reports accuracies over all questions,
without chance or intervals; here sub-tasks count alike, however many questions they have.
"""

# Q questions, U users, R bootstrap replicates

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from updater.evaluation.metrics import Estimate, Floats, estimate
from updater.fidelity.readers.asked import NO_OPTION, Asked, Bools
from updater.fidelity.readers.probe import Answers
from updater.fidelity.schema import SUBTASKS

FEWEST_QUESTIONS = 200
"""Of fewer no number is given."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The accuracy on some questions, and on each replicate of their users."""

    num_questions: int
    value: float
    replicates_R: Floats

    @property
    def is_sufficient(self) -> bool:
        """False if there are too few questions for a number."""
        return self.num_questions >= FEWEST_QUESTIONS

    def estimate(self) -> Estimate:
        """With its error and interval."""
        return estimate(self.value, self.replicates_R)

    def minus(self, other: "Accuracy") -> Estimate:
        """Above that of another system, paired."""
        return estimate(self.value - other.value, self.replicates_R - other.replicates_R)

    def lift(self, prior: "Accuracy") -> Estimate:
        """The share of the prior's errors that are none; NaN if the prior makes none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates_R = (self.replicates_R - prior.replicates_R) / (1 - prior.replicates_R)
            value = np.divide(self.value - prior.value, 1 - prior.value)
        return estimate(float(value), replicates_R)


class Scorer:
    """Scores systems on the questions of users that no reader was fitted to."""

    def __init__(self, asked: Asked, replicates: int, seed: int) -> None:
        self._asked = asked
        self._test_Q = ~asked.train_Q
        users = np.unique(asked.user_Q[self._test_Q])
        # Nobody is one user who is asked nothing.
        self._num_users = max(1, len(users))
        chances = np.full(self._num_users, 1 / self._num_users)
        draws_RU = np.random.default_rng(seed).multinomial(self._num_users, chances, size=replicates)
        self._draws_RU = draws_RU.astype(float)
        self._column_Q = np.searchsorted(users, asked.user_Q)

    def accuracy(self, answers: Answers, among: Bools | None = None) -> Accuracy:
        """On all questions of test users, or on those of them that are `among`, (Q,)."""
        rows = self._test_Q if among is None else self._test_Q & among
        right_Q = (answers.choice_Q == self._asked.gold_Q) & (answers.choice_Q != NO_OPTION)
        count_U = np.bincount(self._column_Q[rows], minlength=self._num_users)
        right_U = np.bincount(self._column_Q[rows], right_Q[rows], minlength=self._num_users)
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates_R = (self._draws_RU @ right_U) / (self._draws_RU @ count_U)
        num = int(rows.sum())
        return Accuracy(num, float(right_Q[rows].mean()) if num else float("nan"), replicates_R)

    def subtasks(self, answers: Answers) -> dict[str, Accuracy]:
        """On each sub-task that is asked for."""
        subtask_Q = self._asked.subtask_Q
        present = set(subtask_Q[self._test_Q].tolist())
        return {name: self.accuracy(answers, subtask_Q == name) for name in SUBTASKS if name in present}

    def modalities(self, answers: Answers) -> dict[str, dict[str, Accuracy]]:
        """On each sub-task and modality; a question about all of them is of the modality `all`."""
        found: dict[str, dict[str, Accuracy]] = {}
        for name in self.subtasks(answers):
            of_subtask = self._asked.subtask_Q == name
            for modality in sorted(set(self._asked.modality_Q[of_subtask & self._test_Q].tolist())):
                among = of_subtask & (self._asked.modality_Q == modality)
                found.setdefault(name, {})[modality or "all"] = self.accuracy(answers, among)
        return found


def macro(of_subtasks: Mapping[str, Accuracy]) -> Accuracy | None:
    """The mean over sub-tasks with questions enough, each counting alike; None if there are none."""
    parts = [one for one in of_subtasks.values() if one.is_sufficient]
    if not parts:
        return None
    return Accuracy(
        sum(one.num_questions for one in parts),
        float(np.mean([one.value for one in parts])),
        np.mean([one.replicates_R for one in parts], axis=0),
    )


def agreement(first: Answers, second: Answers, among: NDArray[np.bool_] | None = None) -> float:
    """The share of questions to which both answers are the same; NaN without a question."""
    rows = first.choice_Q != NO_OPTION
    rows &= True if among is None else among
    return float((first.choice_Q == second.choice_Q)[rows].mean()) if rows.any() else float("nan")
