"""The report of an evaluation as JSON, and what it decides.

    {"mean": {system: values}, "tasks": {task: {system: values}}, "differences": {"tuned-base": values},
     "family": {family: {"seen": {system: values}, "unseen": {system: values}}}, "zero_shot": {task: values},
     "paraphrases": {"difference": values, "each": {"1": {…values, "tasks": number, "difference": values}},
                     "tasks": {task: {query: {"auc": …, "difference": …}}}},
     "ablations": {variant: {…values, "reference": variant, "difference": values}}, "commit": …, "seed": …,
     "model": name, "split": part of the anchors, "gate": [reason]}

`values` are `auc`, `ks`, and for each of them `_se`, `_low` and `_high`: the standard error and the 95 % interval of a
bootstrap over whole users. What cannot be computed is null. A system's mean has also what a user costs
(`costs.Cost`): `cpu_ms_per_user`, `bytes_per_user` and `vectors_per_user`. An evaluation leaves
`ablations` empty: they need models trained for them, and whatever trains these adds them.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from updater import __version__
from updater.errors import VerificationError
from updater.evaluation.metrics import Estimate, Predictions, Replicates, auc_and_ks, bootstrap, mean_over_tasks
from updater.evaluation.scoring import Scores
from updater.labels.tasks import Task
from updater.lake import partitions

Json = dict[str, Any]
STANDARD_ERRORS = 2.0
"""Differences of so many paired standard errors count."""


def make_report(
    tasks: Sequence[Task], scored: Mapping[str, Scores], zero_shot: Mapping[str, Predictions], draws: int, seed: int
) -> Json:
    """The report on systems that were all scored on the same rows of the same tasks.

    Args:
        tasks: what was asked.
        scored: scores of each system.
        zero_shot: scores of tasks that nobody learned from.
        draws: bootstrap replicates.
        seed: of the replicates.
    """
    overall = {name: mean_over_tasks(one.predictions, draws, seed) for name, one in scored.items()}
    return {
        "mean": {name: _of_system(one, overall[name], draws, seed) for name, one in scored.items()},
        "tasks": {
            task.name: {name: _of_task(one.predictions[task.name], draws, seed) for name, one in scored.items()}
            for task in tasks
        },
        "differences": {
            f"{first}-{second}": _values(*overall[first].minus(overall[second]))
            for first, second in _pairs(list(overall))
        },
        "family": _families(tasks, scored, draws, seed),
        "zero_shot": {name: _of_task(one, draws, seed) for name, one in zero_shot.items()},
        "paraphrases": {},
        "ablations": {},
        "version": __version__,
        "seed": seed,
    }


FIRST = ("with_counts", "tuned", "base")
"""Systems that are compared with all others; with each other in this order."""


def has_model(report: Mapping[str, Any]) -> bool:
    """Whether a model is among what was compared, so that it can be judged."""
    return not report["mean"].keys().isdisjoint(FIRST)


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    first = [name for name in FIRST if name in names]
    return [(one, other) for n, one in enumerate(first) for other in names if other not in first[: n + 1]]


def make_paraphrases(
    rounds: Sequence[Sequence[Task]], base: Scores, paraphrased: Sequence[Scores], draws: int, seed: int
) -> Json:
    """The difference that paraphrased questions make to `base`, paired over users.

    Args:
        rounds: the tasks, asked by their first paraphrase, by their second, ….
        base: scores of the wording.
        paraphrased: scores of each round.
        draws: bootstrap replicates.
        seed: of the replicates.
    """
    each: Json = {}
    by_task: dict[str, Json] = {}
    every: dict[str, Predictions] = {}
    plain: dict[str, Predictions] = {}
    for number, (tasks, scored) in enumerate(zip(rounds, paraphrased, strict=True), start=1):
        reference = {task.name: base.predictions[task.name] for task in tasks}
        found = mean_over_tasks(scored.predictions, draws, seed)
        less = found.minus(mean_over_tasks(reference, draws, seed))
        each[str(number)] = {**_values(*found.estimates()), "tasks": len(tasks), "difference": _values(*less)}
        every |= {f"{name} {number}": one for name, one in scored.predictions.items()}
        plain |= {f"{name} {number}": one for name, one in reference.items()}
        for task in tasks:
            auc, before = (
                auc_and_ks(one.label, one.score)[0] for one in (scored.predictions[task.name], reference[task.name])
            )
            by_task.setdefault(task.name, {})[task.query] = {"auc": _number(auc), "difference": _number(auc - before)}
    overall = mean_over_tasks(every, draws, seed).minus(mean_over_tasks(plain, draws, seed))
    return {"difference": _values(*overall), "each": each, "tasks": by_task}


def make_ablations(scored: Mapping[str, Scores], references: Mapping[str, str], draws: int, seed: int) -> Json:
    """Means over the tasks of variants that were scored on the same rows, each beside its reference.

    Args:
        scored: scores of each variant.
        references: the variant that each is compared with.
        draws: bootstrap replicates.
        seed: of the replicates.
    """
    overall = {name: mean_over_tasks(one.predictions, draws, seed) for name, one in scored.items()}
    return {
        name: {
            **_of_system(one, overall[name], draws, seed),
            "reference": references[name],
            "difference": _values(*overall[name].minus(overall[references[name]])),
        }
        for name, one in scored.items()
    }


def gate(report: Json) -> list[str]:
    """Why a model should not go live; nothing if it may.

    Its embeddings have to be better than those of the same model without one step of training, to which all is fitted
    that is not learned, and than the mean text vector; and neither its soft prompts nor the model as a whole may be
    worse than what there is without them.
    """
    differences = report["differences"]
    reasons = []
    for name in ("base-fitted", "base-text"):
        if (reason := _difference_reason(differences, name, better=True)) is not None:
            reasons.append(reason)
    not_worse = ["tuned-base", *(["tuned-live"] if "live" in report["mean"] else [])]
    for name in not_worse:
        if (reason := _difference_reason(differences, name, better=False)) is not None:
            reasons.append(reason)
    return reasons


def beside_gate(report: Json) -> list[str]:
    """What plain counts achieve without any model, in the same words; it decides nothing."""
    return [
        f"{_said(name, values['auc'], values['auc_se'])} (logistic regression on recency, frequency, money and counts "
        "of categories)."
        for name in (f"{first}-rfm_categories" for first in ("tuned", "base"))
        if (values := report["differences"].get(name)) and values["auc"] is not None and values["auc_se"] is not None
    ]


def raise_if_worse(file: str) -> None:
    """Raise VerificationError if the model of a report.json should not go live."""
    fs, path = partitions.filesystem(file)
    if reasons := gate(json.loads(fs.cat_file(path))):
        raise VerificationError(f"The model does not pass the gate of {file}: {'; '.join(reasons)}", findings=reasons)


def _difference_reason(differences: Json, name: str, *, better: bool) -> str | None:
    first, second = name.split("-")
    value = differences.get(name, {})
    auc, error = value.get("auc"), value.get("auc_se")
    if auc is None or error is None:
        return f"{first} was not compared with {second}."
    said = _said(name, auc, error)
    if better and auc <= STANDARD_ERRORS * error:
        return f"{said}: not better by {STANDARD_ERRORS:g} of them."
    if not better and auc < -STANDARD_ERRORS * error:
        return f"{said}: worse by more than {STANDARD_ERRORS:g} of them."
    return None


def _said(name: str, auc: float, error: float) -> str:
    first, second = name.split("-")
    return f"the mean AUC of {first} is {auc:+.4f} from that of {second}, with a standard error of {error:.4f}"


def _of_system(scored: Scores, overall: Replicates, draws: int, seed: int) -> Json:
    held_out = scored.held_out_predictions()
    found = mean_over_tasks(held_out, draws, seed) if any(len(one.user) for one in held_out.values()) else None
    return {
        **_values(*overall.estimates()),
        **(_prefixed("held_out", _values(*found.estimates())) if found else {}),
        "inverse_penalty": scored.penalty and scored.penalty.inverse,
        "penalty_by_part": scored.penalty and scored.penalty.by_part,
        "cpu_ms_per_user": scored.cost and _number(scored.cost.cpu_ms),
        "bytes_per_user": scored.cost and scored.cost.num_bytes,
        "vectors_per_user": scored.cost and scored.cost.vectors,
    }


def _of_task(predictions: Predictions, draws: int, seed: int) -> Json:
    return {
        **_values(*bootstrap(predictions, draws, seed).estimates()),
        "rows": len(predictions.label),
        "base_rate": _number(float(predictions.label.mean())) if len(predictions.label) else None,
    }


def _families(tasks: Iterable[Task], scored: Mapping[str, Scores], draws: int, seed: int) -> Json:
    """Means over the seen and over the unseen tasks of each family that has both."""
    members: dict[str, dict[str, list[str]]] = {}
    for task in tasks:
        if task.family:
            parts = members.setdefault(task.family, {"seen": [], "unseen": []})
            parts["unseen" if task.unseen else "seen"].append(task.name)
    return {
        family: {
            part: {
                name: _values(*mean_over_tasks({n: one.predictions[n] for n in names}, draws, seed).estimates())
                for name, one in scored.items()
            }
            for part, names in parts.items()
        }
        for family, parts in members.items()
        if parts["seen"] and parts["unseen"]
    }


def _values(auc: Estimate, ks: Estimate) -> Json:
    return {**_estimate("auc", auc), **_estimate("ks", ks)}


def _estimate(name: str, found: Estimate) -> Json:
    return {
        name: _number(found.value),
        f"{name}_se": _number(found.se),
        f"{name}_low": _number(found.low),
        f"{name}_high": _number(found.high),
    }


def _prefixed(prefix: str, values: Json) -> Json:
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _number(value: float) -> float | None:
    # JSON has no NaN.
    return float(np.round(value, 6)) if math.isfinite(value) else None
