"""Any system's AUC beside the best possible one, and the share of the gap above counts that the system closes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.ceiling.counts import HALF_LIVES, counts
from updater.evaluation.metrics import Predictions, Replicates, estimate, mean_over_tasks
from updater.evaluation.probe import fit_logistic
from updater.sources.population import KINDS, PopulationSpec, Question, behaviour, questions, user_ids
from updater.sources.population.renewal import Floats

TRAIN_ANCHORS = (99, 109, 119)
"""Days of the history. The last answer of training is known on day 140, before the test's anchor."""
TEST_ANCHOR = 149

System = Callable[[Question, int], Floats]
"""Takes a question and an anchor day; gives a score (users,) or a vector (users, columns) of every user.

A vector gets a logistic regression, fitted on the training users and anchors of the question.
"""


def from_table(spec: PopulationSpec, table: Mapping[tuple[str, int], Mapping[str, Any]]) -> System:
    """A system made elsewhere, as tables from user_id to a vector or a score, by question's name and anchor day.

    Raises:
        ValueError: a table lacks a user.
    """

    def system(question: Question, anchor: int) -> Floats:
        rows = table[question.name, anchor]
        if missing := [user for user in user_ids(spec) if user not in rows]:
            raise ValueError(f"{question.name} at day {anchor} lacks {len(missing)} users, among them {missing[0]}.")
        return np.array([rows[user] for user in user_ids(spec)], dtype=float)

    return system


def evaluate(spec: PopulationSpec, further: Mapping[str, System] | None = None) -> dict[str, Any]:
    """AUC by kind and by question, of the best score, counts, counts and decays, and further systems.

    Half of the users, those of odd numbers, are tested, at a later anchor than the other half is trained at.
    """
    lived = behaviour(spec)
    systems: dict[str, System] = {
        "best": lambda question, anchor: question.best_score(lived, anchor),
        "counts": lambda question, anchor: counts(spec, question, anchor),
        "decays": lambda question, anchor: counts(spec, question, anchor, HALF_LIVES),
        **(further or {}),
    }
    report: dict[str, Any] = {"kinds": {}, "questions": {}}
    for kind in KINDS:
        asked = [question for question in questions() if question.kind == kind]
        found = {name: {q.name: _predictions(spec, system, q) for q in asked} for name, system in systems.items()}
        report["kinds"][kind] = _row({name: mean_over_tasks(tasks) for name, tasks in found.items()})
        for question in asked:
            own = {name: mean_over_tasks({"": tasks[question.name]}) for name, tasks in found.items()}
            rate = float(found["best"][question.name].label.mean())
            report["questions"][question.name] = {"text": question.text, "rate": rate, "systems": _row(own)}
    return report


def _predictions(spec: PopulationSpec, system: System, question: Question) -> Predictions:
    lived, tested = behaviour(spec), np.arange(spec.num_users) % 2 == 1
    given = system(question, TEST_ANCHOR)
    if given.ndim == 2:
        parts, labels = [], []
        for anchor in TRAIN_ANCHORS:
            rows = ~tested & question.asked_of(lived, anchor)
            parts.append(system(question, anchor)[rows])
            labels.append(question.label(lived, anchor)[rows])
        given = fit_logistic(np.concatenate(parts), np.concatenate(labels))(given)
    rows = tested & question.asked_of(lived, TEST_ANCHOR)
    return Predictions(np.array(user_ids(spec))[rows], question.label(lived, TEST_ANCHOR)[rows], given[rows])


def _row(systems: Mapping[str, Replicates]) -> dict[str, Any]:
    return {
        name: {"auc": _interval(found.auc, found.auc_replicates), "closed": closed(found, systems)}
        for name, found in systems.items()
    }


def closed(system: Replicates, systems: Mapping[str, Replicates]) -> dict[str, float]:
    """(AUC - counts) / (best - counts), on the same draws of users."""
    low, high = systems["counts"], systems["best"]
    share = (system.auc - low.auc) / (high.auc - low.auc)
    draws = (system.auc_replicates - low.auc_replicates) / (high.auc_replicates - low.auc_replicates)
    return _interval(share, draws)


def _interval(value: float, draws: Floats) -> dict[str, float]:
    found = estimate(value, draws)
    names = ("value", "se", "low", "high")
    return {name: round(getattr(found, name), 4) for name in names}


def table(report: Mapping[str, Any]) -> str:
    """The kinds' rows as a Markdown table."""
    names: Sequence[str] = list(next(iter(report["kinds"].values())))
    titles = {"best": "best possible", "decays": "counts and decays"}
    head = "| kind | " + " | ".join(titles.get(name, name) for name in names) + " | "
    head += " | ".join(f"closed by {titles.get(name, name)}" for name in names if name not in ("best", "counts")) + " |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    for kind, row in report["kinds"].items():
        cells = ["{value:.3f} ({low:.3f} to {high:.3f})".format(**row[name]["auc"]) for name in names]
        cells += [
            "{value:.2f} ({low:.2f} to {high:.2f})".format(**row[name]["closed"])
            for name in names
            if name not in ("best", "counts")
        ]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
