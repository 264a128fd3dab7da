"""The second phase: group-relative policy optimisation by TRL's GRPOTrainer, with the cumulative reward.

The prompts are those of both updates of the training chains, the second one's with the training text of the first for
its parent. Of the replies to a first update one is carried into the second one, which the model answers in turn as it
is at that step: a reply that is refused is not carried, its parent is, as where texts are served.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

from updater.domain.declared.profile_training import ProfileTraining
from updater.profile.language_model.check import Limits
from updater.runtime.deployment import Progress
from updater.training.profile.history.windows import Chain, Update
from updater.training.profile.phases.policy import Policy
from updater.training.profile.phases.supervised import Trained, numbers
from updater.training.profile.phases.trainers import (
    Budget,
    Watch,
    adapters,
    arguments,
    resume_from,
    without_printing,
)
from updater.training.profile.reading import Judged, judge
from updater.training.profile.reward import cumulative_rewards, immediate_reward

Rewards = Callable[[int, Sequence[str], Policy], list[float]]
"""From the number of a prompt, the replies to it and the model as it is now to their rewards."""


@dataclass(frozen=True, eq=False)
class ChainRewards:
    """Rewards of replies to the updates of chains.

    Args:
        updates: one for each prompt.
        chains: the chain that a first update begins, by its number.
        limits: what texts may have.
        options: penalties, and how replies are drawn.
    """

    updates: Sequence[Update]
    chains: Mapping[int, Chain]
    limits: Limits
    options: ProfileTraining

    def __call__(self, number: int, replies: Sequence[str], policy: Policy) -> list[float]:
        """Rewards of the replies to the update `number`."""
        update = self.updates[number]
        judged = [judge(reply, update, self.limits) for reply in replies]
        immediate = [self._immediate(each, update) for each in judged]
        chain = self.chains.get(number)
        if chain is None:
            return immediate
        carried = carried_reply(number, replies)
        second = chain.second(judged[carried].candidate)
        following = policy.draw(
            [policy.prompt(second.question)] * len(replies), self.options.max_reply_tokens, self.options.temperature
        )
        rewards = [self._immediate(judge(reply, second, self.limits), second) for reply in following]
        return cumulative_rewards(immediate, carried, rewards)

    def _immediate(self, judged: Judged, update: Update) -> float:
        return immediate_reward(judged.reading, update.events, self.options, self.limits.budget_tokens)


def carried_reply(number: int, replies: Sequence[str]) -> int:
    """Which of the replies is carried on: drawn by a hash of them, so that a resumed run draws the same."""
    digest = md5("\0".join([str(number), *replies]).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") % len(replies)


def reinforce(
    policy: Policy,
    prompts: Sequence[str],
    rewards: Rewards,
    options: ProfileTraining,
    directory: Path,
    budget: Budget,
    progress: Progress,
    device: str = "cpu",
) -> Trained:
    """Train on prompts by the rewards of drawn replies; goes on from the newest checkpoint in `directory`."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def reward(prompts: list[str], completions: list[str], number: list[int], **columns: Any) -> list[float]:
        found = []
        for start in range(0, len(completions), options.group):
            group = completions[start : start + options.group]
            found += rewards(number[start], group, policy.with_network(trainer.model))
        return found

    trainer = GRPOTrainer(
        model=policy.network,
        reward_funcs=reward,
        args=GRPOConfig(
            **arguments(options, directory, options.reinforced_steps, device),
            per_device_train_batch_size=options.group,
            gradient_accumulation_steps=options.prompts_per_step,
            num_generations=options.group,
            max_completion_length=options.max_reply_tokens,
            temperature=options.temperature,
            learning_rate=options.reinforced_learning_rate,
            lr_scheduler_type="constant",
            loss_type="grpo",
            beta=0.0,
        ),
        train_dataset=Dataset.from_list([{"prompt": text, "number": place} for place, text in enumerate(prompts)]),
        processing_class=policy.tokenizer,
        peft_config=adapters(options),
        callbacks=[Watch(progress, "training by rewards", budget)],
    )
    without_printing(trainer)
    trainer.train(resume_from_checkpoint=resume_from(directory))
    return Trained(policy.with_network(trainer.model), trainer.state.global_step, numbers(trainer.state.log_history))
