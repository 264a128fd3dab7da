"""What a model does for users and days that it was not trained on: two updates in turn, by its likeliest replies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from updater.domain.declared.profile_training import ProfileTraining
from updater.profile.language_model.check import Limits
from updater.profile.utility import named_values
from updater.runtime.deployment import Progress
from updater.training.profile.history.windows import Chain, Update
from updater.training.profile.phases.policy import Policy
from updater.training.profile.reading import judge
from updater.training.profile.reward import immediate_reward, share_right

PROMPTS_PER_BATCH = 4


@dataclass(frozen=True)
class Seen:
    """What was seen of a model's replies."""

    updates: int
    readable: float | None
    """Share of the replies that can be read; None without any."""
    accepted: float | None
    """Share of the replies that pass the check, so that they would be served."""
    reward: float | None
    """Mean immediate reward."""
    right: float | None
    """Mean share of the next stage's choices that the replies get right; one that cannot be read gets half of them."""
    rejections: dict[str, int]
    """How many replies are refused, by the reason."""


@dataclass(frozen=True)
class Baseline:
    """The texts by rules at the same instants."""

    right: float | None


def examine(
    policy: Policy, chains: Sequence[Chain], limits: Limits, options: ProfileTraining, progress: Progress, label: str
) -> Seen:
    """Look at both updates of each chain; the second one follows on what the first one wrote, if that is accepted."""
    readable, accepted, rewards, right = [], [], [], []
    rejections: dict[str, int] = {}
    for start in range(0, len(chains), PROMPTS_PER_BATCH):
        progress(label, start, len(chains))
        batch = chains[start : start + PROMPTS_PER_BATCH]
        updates: list[Update] = [chain.first for chain in batch]
        for _ in range(2):
            replies = policy.draw([policy.prompt(one.question) for one in updates], options.max_reply_tokens)
            judged = [judge(reply, update, limits) for reply, update in zip(replies, updates, strict=True)]
            for found, update in zip(judged, updates, strict=True):
                named = {} if found.reading is None else found.reading.named
                readable.append(found.reading is not None)
                accepted.append(found.candidate is not None)
                rewards.append(immediate_reward(found.reading, update.events, options, limits.budget_tokens))
                right.append(share_right(named, update.events))
                if found.rejection is not None:
                    rejections[found.rejection] = rejections.get(found.rejection, 0) + 1
            updates = [chain.second(found.candidate) for chain, found in zip(batch, judged, strict=True)]
    return Seen(
        updates=len(readable),
        readable=_mean(readable),
        accepted=_mean(accepted),
        reward=_mean(rewards),
        right=_mean(right),
        rejections=dict(sorted(rejections.items())),
    )


def baseline(chains: Sequence[Chain]) -> Baseline:
    """How many choices the texts by rules get right at the instants of both updates."""
    updates = [update for chain in chains for update in (chain.first, chain.second(None))]
    shares = [
        share_right(named_values(update.rule_profile, update.moment.rules.facets), update.events) for update in updates
    ]
    return Baseline(_mean(shares))


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None
