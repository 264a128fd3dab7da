"""Whether a reader can answer such questions at all: from events as text it has to beat the answers without a user."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from updater.evaluation.metrics import Estimate
from updater.fidelity.llm.accuracy import mean_over_users


@dataclass(frozen=True)
class Ability:
    """What a reader makes of the newest events as text."""

    accuracy: Estimate
    prior: Estimate
    """Accuracy of the answers without a user."""
    can_answer: bool
    """Whether the paired 95 % interval of the difference lies above zero."""
    reason: str
    """The same as a sentence, with its numbers."""


def judge_ability(
    model: str, newest: int, right: NDArray[np.bool_], prior_right: NDArray[np.bool_], users: NDArray[np.str_]
) -> Ability:
    """Compare answers from text with answers without a user.

    Args:
        model: name of the reader, for the sentence.
        newest: how many events it read.
        right: whether it was right, for each question.
        prior_right: whether the prior was.
        users: whose question each is.
    """
    made, prior = right.astype(float), prior_right.astype(float)
    accuracy, without, above = (mean_over_users(each, users) for each in (made, prior, made - prior))
    can_answer = above.low > 0
    verdict = "can answer such questions" if can_answer else "cannot show what a vector knows: it is no reader for them"
    reason = (
        f"From the newest {newest} events as text {model} is right in {accuracy.value:.1%} of {len(right)} questions, "
        f"the prior without a user in {without.value:.1%} (difference {above.value:+.1%}, 95 % interval "
        f"{above.low:+.1%} to {above.high:+.1%}); it {verdict}."
    )
    return Ability(accuracy, without, can_answer, reason)
