"""The first phase: training texts are learned by next-token prediction on the reply alone, by TRL's SFTTrainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from updater.domain.declared.profile_training import ProfileTraining
from updater.runtime.deployment import Progress
from updater.training.profile.phases.policy import Policy
from updater.training.profile.phases.trainers import (
    Budget,
    Watch,
    adapters,
    arguments,
    resume_from,
    without_printing,
)


class Trained(NamedTuple):
    """What a phase did."""

    policy: Policy
    steps: int
    """Done so far; fewer than wanted if the budget was spent."""
    numbers: list[dict[str, float]]
    """Per step what the trainer logged."""


def supervise(
    policy: Policy,
    pairs: Sequence[tuple[str, str]],
    options: ProfileTraining,
    directory: Path,
    budget: Budget,
    progress: Progress,
    device: str = "cpu",
) -> Trained:
    """Train on pairs of a prompt and a reply; goes on from the newest checkpoint in `directory`."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = []
    for prompt, reply in pairs:
        asked, said = policy.prompt_tokens(prompt), policy.reply_tokens(reply)
        rows.append({"input_ids": asked + said, "completion_mask": [0] * len(asked) + [1] * len(said)})
    steps = options.supervised_steps
    trainer = SFTTrainer(
        model=policy.network,
        args=SFTConfig(
            **arguments(options, directory, steps, device),
            per_device_train_batch_size=1,
            gradient_accumulation_steps=options.texts_per_step,
            learning_rate=options.supervised_learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=steps // 10,
            max_length=None,
            completion_only_loss=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
        peft_config=adapters(options),
        callbacks=[Watch(progress, "supervised training", budget)],
    )
    without_printing(trainer)
    trainer.train(resume_from_checkpoint=resume_from(directory))
    return Trained(policy.with_network(trainer.model), trainer.state.global_step, numbers(trainer.state.log_history))


def numbers(history: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """The log of each step, without the summary at the end."""
    return [entry for entry in history if "loss" in entry]
