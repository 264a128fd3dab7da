"""The card of a trained updater: what was trained on what, for how long, and what was seen."""

from collections.abc import Mapping
from datetime import date

from updater.domain.declared.profile_training import ProfileTraining
from updater.training.profile.examine import Baseline, Seen
from updater.training.profile.history.stages import StagePlan


def updater_card(
    options: ProfileTraining,
    plan: StagePlan,
    num_parameters: int,
    num_texts: int,
    steps: Mapping[str, int],
    seen: Mapping[str, Seen],
    rules: Baseline,
) -> str:
    """The card of a model.

    Args:
        options: what it was trained with.
        plan: days.
        num_parameters: of the model.
        num_texts: training texts.
        steps: done in each phase.
        seen: before training and after each phase.
        rules: the texts by rules of the same users and days.
    """
    rows = "\n".join(
        f"| {name} | {each.updates} | {_percent(each.readable)} | {_percent(each.accepted)} | {_number(each.reward)} "
        f"| {_number(each.right)} |"
        for name, each in seen.items()
    )
    phases = ", ".join(f"{count:,} steps {name}" for name, count in steps.items())
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags:
- user-profiles
---

# Updater of textual profiles

{options.model} ({num_parameters:,} parameters), trained to write a user's profile from the one before and what is new
(after AlignXplore+, arXiv 2601.04963): {phases}, on {num_texts:,} texts of users who are not held out, of the days
{_days(plan.first_day, plan.trained[-1].end)}. It is small and was trained briefly.

What was seen of held-out users in the days {_days(plan.examined.first, plan.examined.end)}, likeliest replies; half of
the choices are right by chance:

| | replies | readable | accepted | reward | choices right |
|---|---|---|---|---|---|
{rows}
| texts by rules | | | | | {_number(rules.right)} |

What this says of other users, other data or a decision that reads the texts is not known.
"""


def _days(first: date, last: date) -> str:
    return f"{first} to {last}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
