"""The report on what can be read back from embeddings, as JSON.

    {"subtasks": {"DF": {system: values}, …}, "modalities": {"DF": {modality: {system: values}}},
     "macro": {system: values}, "differences": {"published-counts": {"DF": difference, …, "macro": difference}},
     "parity": …, "freshness": …, "locality": …, "columns": {system: number}, "fallback": {system: number},
     "llm": what `llm.joined.read_with_llm` returns, or null,
     "questions": {"number": …, "test": …, "digest": …, "removed": {filter: number}}, "ds": …, "as_of": …, "model": …}

`values` are `acc` with its 95 % interval from `low` to `high`, `prior`, `lift` with `lift_low` and `lift_high`, and
`n`, the number of questions. Where n is too small for a number, all others are null. `macro` is the mean over the
sub-tasks that have numbers. What could not be measured is null.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from updater import __version__
from updater.evaluation.metrics import Estimate
from updater.fidelity.incremental import Freshness, Locality, Parity
from updater.fidelity.readers.asked import Asked
from updater.fidelity.readers.probe import Answers
from updater.fidelity.scoring import FEWEST_QUESTIONS, Accuracy, Scorer, macro
from updater.fidelity.systems.names import PRIOR, SYSTEMS

Json = dict[str, Any]
FIRST = ("candidate", "published", "asked")
"""Systems that are compared with all others; with each other in this order. After them come systems that are none of
this project."""


@dataclass(frozen=True)
class Kept:
    """What daily updates were found to keep; None where the day does not allow to say."""

    parity: Parity | None
    freshness: Freshness | None
    locality: Locality | None


def make_report(
    asked: Asked, scorer: Scorer, answers: Mapping[str, Answers], columns: Mapping[str, int], kept: Kept, about: Json
) -> Json:
    """The report on systems that were asked the same questions.

    Args:
        asked: the questions.
        scorer: scores answers to them.
        answers: of each system, the prior among them.
        columns: numbers that each system keeps of a user.
        kept: what daily updates keep.
        about: what else the report says of itself.
    """
    subtasks = {name: scorer.subtasks(one) for name, one in answers.items()}
    modalities = {name: scorer.modalities(one) for name, one in answers.items()}
    means = {name: macro(found) for name, found in subtasks.items()}
    prior = subtasks[PRIOR]
    return {
        "subtasks": {
            subtask: {name: _values(found[subtask], prior[subtask]) for name, found in subtasks.items()}
            for subtask in prior
        },
        "modalities": {
            subtask: {
                modality: {
                    name: _values(found[subtask][modality], modalities[PRIOR][subtask][modality])
                    for name, found in modalities.items()
                }
                for modality in of_subtask
            }
            for subtask, of_subtask in modalities[PRIOR].items()
        },
        "macro": {name: _mean(mean, means[PRIOR]) for name, mean in means.items()},
        "differences": {
            f"{first}-{second}": {
                **{name: _difference(one, subtasks[second][name]) for name, one in subtasks[first].items()},
                "macro": _mean_difference(means[first], means[second]),
            }
            for first, second in _pairs(list(answers))
        },
        **{name: _plain(one) for name, one in vars(kept).items()},
        "columns": dict(columns),
        "fallback": {name: one.num_fallback for name, one in answers.items()},
        "fewest_questions": FEWEST_QUESTIONS,
        "users": {
            "fitted": len(set(asked.user_Q[asked.train_Q].tolist())),
            "asked": len(set(asked.user_Q[~asked.train_Q].tolist())),
        },
        "llm": None,
        "version": __version__,
        **about,
    }


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    first = [*(name for name in FIRST if name in names), *(name for name in names if name not in SYSTEMS)]
    return [(one, other) for n, one in enumerate(first) for other in names if other not in first[: n + 1]]


def _values(found: Accuracy, prior: Accuracy) -> Json:
    if not found.is_sufficient:
        return {**_without_number(), "n": found.num_questions}
    estimate, lift = found.estimate(), found.lift(prior)
    return {
        "acc": _number(estimate.value),
        "low": _number(estimate.low),
        "high": _number(estimate.high),
        "prior": _number(prior.value),
        "lift": _number(lift.value),
        "lift_low": _number(lift.low),
        "lift_high": _number(lift.high),
        "n": found.num_questions,
    }


def _without_number() -> Json:
    return dict.fromkeys(("acc", "low", "high", "prior", "lift", "lift_low", "lift_high"))


def _mean(found: Accuracy | None, prior: Accuracy | None) -> Json:
    return {**_without_number(), "n": 0} if found is None or prior is None else _values(found, prior)


def _difference(first: Accuracy, second: Accuracy) -> Json:
    known = first.minus(second) if first.is_sufficient else None
    return {**_of_estimate(known), "n": first.num_questions}


def _mean_difference(first: Accuracy | None, second: Accuracy | None) -> Json:
    known = first.minus(second) if first is not None and second is not None else None
    return {**_of_estimate(known), "n": first.num_questions if first is not None else 0}


def _of_estimate(known: Estimate | None) -> Json:
    values = asdict(known) if known is not None else dict.fromkeys(("value", "se", "low", "high"))
    return {name: None if value is None else _number(value) for name, value in values.items()}


def _plain(found: Parity | Freshness | Locality | None) -> Json | None:
    if found is None:
        return None
    values = {name: _of_estimate(one) if isinstance(one, Estimate) else one for name, one in vars(found).items()}
    holds = {} if isinstance(found, Freshness) else {"holds": found.holds}
    return {name: _number(one) if isinstance(one, float) else one for name, one in {**values, **holds}.items()}


def _number(value: float) -> float | None:
    # JSON has no NaN.
    return round(value, 6) if math.isfinite(value) else None
