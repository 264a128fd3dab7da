"""The share of the gap that a system closes: the best score closes all of it, counts none, noise less than that."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ceiling import counts, evaluation
from updater.sources.population import PopulationSpec, behaviour, questions, rows_of_day, user_ids

SPEC = PopulationSpec(num_users=600)
CEILING = Path(__file__).parents[2] / "benchmarks" / "ceiling"


def answers(question, anchor):
    """The truth as a vector, which a probe has to find among noise."""
    truth = question.label(behaviour(SPEC), anchor).astype(float)
    return np.stack([truth, np.random.default_rng(anchor).random(len(truth))], axis=1)


@pytest.fixture(scope="module")
def report():
    noise = np.random.default_rng(0).random(SPEC.num_users)
    return evaluation.evaluate(SPEC, {"oracle": answers, "noise": lambda question, anchor: noise})


@pytest.mark.parametrize("kind", ["needs", "order", "regimes", "response"])
def test_shares_of_the_gap(report, kind):
    row = report["kinds"][kind]
    assert row["best"]["closed"]["value"] == 1
    assert row["counts"]["closed"]["value"] == 0
    assert row["oracle"]["auc"]["value"] == 1
    assert row["noise"]["auc"]["value"] == pytest.approx(0.5, abs=0.1)
    assert row["best"]["auc"]["value"] > row["decays"]["auc"]["value"] - 0.02
    assert row["best"]["auc"]["low"] < row["best"]["auc"]["value"] < row["best"]["auc"]["high"]


@pytest.mark.parametrize("question", [q for q in questions() if q.number == 0], ids=lambda question: question.kind)
def test_counts_are_those_of_the_lake_up_to_the_anchor(question):
    anchor, spec = 20, PopulationSpec(num_users=30)
    modality = {"needs": "purchase", "order": "step", "regimes": "visit", "response": "answer"}[question.kind]
    users, texts = [], []
    for day in range(anchor + 1):
        rows = rows_of_day(spec, spec.first_day.fromordinal(spec.first_day.toordinal() + day))[modality]
        users += rows["user_id"].to_pylist()
        texts += rows["what"].to_pylist()
    found = np.expm1(counts.counts(spec, question, anchor)).round()
    if question.kind == "needs":
        from updater.sources.population.vocabulary import NEEDS, need_names

        kept = {text for name in need_names()[:8] for text in NEEDS[name]}
        users = [user for user, text in zip(users, texts, strict=True) if text in kept]
    assert found.sum(axis=1).tolist() == [users.count(user) for user in user_ids(spec)]


def test_a_table_from_elsewhere_is_a_system():
    question = questions()[0]
    rows = {user: float(n) for n, user in enumerate(user_ids(SPEC))}
    system = evaluation.from_table(SPEC, {(question.name, 149): rows})
    assert system(question, 149).tolist() == list(range(SPEC.num_users))
    del rows["p0000005"]
    with pytest.raises(ValueError, match="p0000005"):
        system(question, 149)


def test_training_ends_before_the_test_begins():
    assert max(evaluation.TRAIN_ANCHORS) + max(q.horizon_days for q in questions()) < evaluation.TEST_ANCHOR


@pytest.mark.parametrize("name", ["report.json", "product.json"])
def test_the_page_has_the_report(name):
    report = json.loads((CEILING / name).read_text())
    page = (CEILING / "README.md").read_text()
    assert evaluation.table(report) in page
    for value in (report["command"], report["commit"], str(report["seconds"])):
        assert value in page
