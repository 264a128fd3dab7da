"""What a training would cost, from the lengths of its prompts and a short measurement of the model on this machine."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.device import model_device
from updater.runtime.threads import one_thread
from updater.training.profile.history.collect import days_to_land, plan_of
from updater.training.profile.phases.policy import Policy, open_policy
from updater.training.profile.texts.gather import Gathered, gather

TRAINING_FACTOR = 3.5
"""CPU time of a training pass in forward passes over the same tokens."""
DRAWN = 8
"""Tokens that are drawn to measure how long one takes."""


@dataclass(frozen=True)
class UpdaterPlan:
    """What `updater profile train` would do."""

    model: str
    trained_days: tuple[str, str]
    examined_days: tuple[str, str]
    days_to_land: int
    """Days of modalities that have to be landed first; the rest is not known until then."""
    chains: int | None = None
    texts: int | None = None
    median_prompt_tokens: int | None = None
    steps: tuple[int, int] | None = None
    """Of the supervised phase, and of the one by rewards."""
    cpu_seconds: int | None = None
    """About, on one thread of this machine as it is now."""


def plan_training(context: Context, progress: Progress = no_progress) -> UpdaterPlan:
    """What a training would read, do and cost; changes nothing.

    Raises:
        ConfigError: there is no such model, or no training text is left.
        NotLandedError: the lake's days are too few.
    """
    options, plan = context.settings.profile_training, plan_of(context.settings)
    trained = plan.first_day.isoformat(), plan.trained[-1].end.isoformat()
    examined = plan.examined.first.isoformat(), plan.examined.end.isoformat()
    missing = days_to_land(context, plan)
    if missing:
        return UpdaterPlan(options.model, trained, examined, missing)
    with one_thread():
        policy = open_policy(options.model, model_device(context.settings))
        found = gather(context, None, policy, progress)
        lengths = [len(policy.prompt_tokens(prompt)) for prompt in found.made.prompts]
        median = int(np.median(lengths))
        seconds = _seconds(context, policy, found, median)
    return UpdaterPlan(
        model=options.model,
        trained_days=trained,
        examined_days=examined,
        days_to_land=0,
        chains=found.made.num_chains,
        texts=len(found.made.texts),
        median_prompt_tokens=median,
        steps=(options.supervised_steps, options.reinforced_steps),
        cpu_seconds=round(seconds),
    )


def _seconds(context: Context, policy: Policy, found: Gathered, length: int) -> float:
    options = context.settings.profile_training
    prompt = min(found.made.prompts, key=lambda one: abs(len(policy.prompt_tokens(one)) - length))
    ids = torch.tensor([policy.prompt_tokens(prompt)], device=policy.network.device)
    with torch.no_grad():
        began = time.process_time()
        policy.network(input_ids=ids, logits_to_keep=1)
        read = time.process_time() - began
    began = time.process_time()
    policy.draw([prompt], DRAWN)
    drawn = max(time.process_time() - began - read, 0.0) / DRAWN * options.max_reply_tokens
    supervised = options.supervised_steps * options.texts_per_step * TRAINING_FACTOR * read
    replies = options.reinforced_steps * options.prompts_per_step * options.group
    # Half of the prompts are first updates, whose chain goes on with as many replies.
    reinforced = replies * (TRAINING_FACTOR * read + 1.5 * (read + drawn))
    looks = 1 + (options.supervised_steps > 0) + (options.reinforced_steps > 0)
    return supervised + reinforced + looks * 2 * len(found.examined) * (read + drawn)
