"""What a reply of a profile's updater is worth: forward utility, less penalties; and the cumulative reward of a chain.

The immediate reward of a text is the share of the next stage's choices that it gets right, read by the rule of
`updater user utility`. The cumulative reward is AlignXplore+'s (arXiv 2601.04963): of the replies to one prompt one is
carried into the next update, and gets `DISCOUNT` times the mean reward of what is made of it there beside its own; the
others get `DISCOUNT` times what is right about half of the choices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from updater.domain.declared.profile_training import ProfileTraining
from updater.profile.utility import DISCOUNT, score, wins

UNINFORMED = 0.5
"""Expected share of right choices of a text that says nothing."""


@dataclass(frozen=True)
class NextEvent:
    """An event of the next stage, and what it is asked of a text: its own value, or the other one?"""

    modality: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Reading:
    """What a reply says, and what is wrong with it."""

    named: Mapping[tuple[str, str], float]
    """How much the text says for each (modality, value) that it names as going on; see `utility.named_values`."""
    clauses: int
    """Clauses of the reply."""
    ungrounded: int
    """Those of them that the log does not bear out."""
    tokens: int
    """Length of the text."""


def share_right(named: Mapping[tuple[str, str], float], events: Sequence[NextEvent]) -> float:
    """Share of right choices; one about which nothing is said counts a half."""
    answers = [
        wins(score(named, asked.modality, asked.chosen), score(named, asked.modality, asked.rejected))
        for asked in events
    ]
    return float(np.mean(answers)) if answers else UNINFORMED


def immediate_reward(
    reading: Reading | None, events: Sequence[NextEvent], options: ProfileTraining, budget_tokens: int
) -> float:
    """Reward of a reply on the choices of the next stage.

    Args:
        reading: what the reply says; None if it cannot be read, which is worth nothing, as in the paper.
        events: the choices.
        options: the penalties.
        budget_tokens: longest text that is served.

    Returns:
        From 0 to 1.
    """
    if reading is None:
        return 0.0
    ungrounded = reading.ungrounded / max(reading.clauses, 1)
    excess = min(max(reading.tokens / budget_tokens - 1, 0.0), 1.0)
    penalties = options.ungrounded_penalty * ungrounded + options.budget_penalty * excess
    return max(share_right(reading.named, events) - penalties, 0.0)


def cumulative_rewards(immediate: Sequence[float], carried: int, following: Sequence[float]) -> list[float]:
    """Rewards of the replies to one prompt of a chain's first update.

    Args:
        immediate: of each reply.
        carried: position of the one that the second update took for its parent.
        following: immediate rewards of the replies of that second update.
    """
    of_carried = float(np.mean(following))
    return [own + DISCOUNT * (of_carried if place == carried else UNINFORMED) for place, own in enumerate(immediate)]
