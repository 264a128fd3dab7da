"""A further seed is compared on the report's own rows and draws, and on no others."""

import copy

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.quality.beside import joined
from benchmarks.quality.seeds import BAR, SEEDED, check_same, of_report
from updater.evaluation.metrics import Predictions
from updater.evaluation.probe import Penalty
from updater.evaluation.report import make_report
from updater.evaluation.scoring import Scores
from updater.labels.tasks import Task

USERS = np.array([f"u{number}" for number in range(40)])
TASKS = [
    Task(
        name=name,
        domain="risk",
        kind="occurs",
        parameters={"modality": "bill", "active_in": "bill"},
        family="f",
        unseen=name == "b",
    )
    for name in ("a", "b")
]


def report(*systems, label=None, users=USERS, seed=3):
    label = np.arange(40) % 3 == 0 if label is None else label
    rng = np.random.default_rng(0)
    scored = {}
    for system in systems:
        found = {task.name: Predictions(users, label, label + rng.normal(size=40)) for task in TASKS}
        scored[system] = Scores(Penalty(0.02), found)
    return make_report(TASKS, scored, {}, draws=20, seed=seed)


def test_the_report_itself_is_one_of_the_seeds():
    whole = report("tuned", "recency", *SEEDED, BAR)
    found = of_report(whole)

    assert set(found["mean"]) == {*SEEDED, BAR}
    assert found["differences"][f"base-{BAR}"] == whole["differences"][f"base-{BAR}"]
    assert not any("tuned" in pair or "recency" in pair for pair in found["differences"])
    assert set(found["family"]["f"]["seen"]) == {*SEEDED, BAR}


def test_the_same_rows_and_draws_pass_whatever_they_cost_now():
    known, again = report(BAR), report(BAR)
    again["mean"][BAR]["cpu_ms_per_user"] = 3.0
    check_same(BAR, known, again)
    check_same(BAR, {"mean": known["mean"]}, again)


@pytest.mark.parametrize(
    "changes",
    [
        {"label": np.arange(40) % 4 == 0},
        {"seed": 4},
        # The same rows by other users: their draws differ.
        {"users": np.roll(USERS, 7)},
    ],
)
def test_other_rows_or_draws_are_refused(changes):
    with pytest.raises(RuntimeError, match="other rows or draws"):
        check_same(BAR, report(BAR), report(BAR, **changes))


def test_other_tasks_are_refused():
    known = report(BAR)
    again = copy.deepcopy(known)
    del again["tasks"]["a"]
    with pytest.raises(RuntimeError, match="other tasks"):
        check_same(BAR, known, again)


def test_a_model_beside_a_seed_joins_its_systems():
    seed, more = report("base", BAR), report("base", "paper")
    found = joined(seed, more)

    assert set(found["mean"]) == {"base", BAR, "paper"}
    assert found["differences"] == seed["differences"] | more["differences"]
    assert set(found["family"]["f"]["unseen"]) == {"base", BAR, "paper"}
