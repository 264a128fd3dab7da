"""All that a training reads: the texts that are learned, and the chains by which the model is examined."""

from dataclasses import dataclass

from updater.errors import ConfigError
from updater.labels.events import Events
from updater.profile.language_model.check import Limits
from updater.runtime.deployment import Context, Progress
from updater.training.profile.history.collect import collect
from updater.training.profile.history.stages import StagePlan
from updater.training.profile.history.windows import Chain, Update
from updater.training.profile.phases.policy import Policy
from updater.training.profile.texts.candidates import candidates
from updater.training.profile.texts.dataset import TrainingUpdates, make_training_updates


@dataclass(frozen=True, eq=False)
class Gathered:
    """What is trained on and looked at."""

    plan: StagePlan
    made: TrainingUpdates
    examined: tuple[Chain, ...]
    limits: Limits


def gather(context: Context, events: Events | None, policy: Policy, progress: Progress) -> Gathered:
    """Read the chains of a deployment and make the training texts.

    Args:
        context: the deployment.
        events: lands what is not landed yet; None where nothing may be written and no language model be asked.
        policy: whose prompts they are.
        progress: called with what is done.

    Raises:
        ConfigError: no training text is left.
        NotLandedError: the lake's days are too few.
    """
    options = context.settings.profile_training
    longest = options.max_prompt_tokens
    if policy.context is not None:
        longest = min(longest, policy.context - options.max_reply_tokens)

    def fits(update: Update) -> bool:
        return bool(update.question.facets) and len(policy.prompt_tokens(policy.prompt(update.question))) <= longest

    found = collect(context, events, progress)
    progress("making training texts", 0, len(found.trained))
    # A look costs no requests: it counts the texts that the rules' candidates give.
    with candidates(context.settings, may_ask=events is not None) as ask:
        made = make_training_updates(found.trained, found.limits, policy.prompt, fits, ask)
    if not made.texts:
        raise ConfigError(
            f"of {made.num_chains} chains of updates none has a training text: prompts are longer than "
            "profile_training.max_prompt_tokens or the model takes, or no text predicts what came next; raise it, "
            "or read more with profile_training.users and chains."
        )
    examined = [chain for chain in found.examined if fits(chain.first) and fits(chain.second(None))]
    return Gathered(found.plan, made, tuple(examined[: options.examine_users]), found.limits)
