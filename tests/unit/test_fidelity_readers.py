"""Probe, references and scores on questions made by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.fidelity_questions import question, table
from updater.errors import VerificationError
from updater.evaluation.systems.vectors import UserVectors
from updater.fidelity import gate
from updater.fidelity.incremental import freshness, parity
from updater.fidelity.readers.asked import NO_OPTION, Asked
from updater.fidelity.readers.probe import Answers, answer, prior, ridge
from updater.fidelity.report import Kept, make_report
from updater.fidelity.scoring import FEWEST_QUESTIONS, Scorer, macro
from updater.fidelity.systems.bags import Log, bag
from updater.fidelity.systems.names import random, shuffled

VALUES = ("dairy", "rice", "tea", "wine")
USERS = [f"u{n:04}" for n in range(1500)]
TASTES = np.random.default_rng(1).choice(4, len(USERS), p=[0.4, 0.3, 0.2, 0.1])


def tastes(**other) -> Asked:
    """What each user likes best, of all four values in an order of the user's own."""
    rng = np.random.default_rng(2)
    rows = [
        question(user, "taste", rng.permutation(VALUES).tolist(), VALUES[taste], train=n % 10 < 7, **other)
        for n, (user, taste) in enumerate(zip(USERS, TASTES, strict=True))
    ]
    return Asked.of(table(rows))


@pytest.fixture(scope="module")
def asked() -> Asked:
    return tastes()


@pytest.fixture(scope="module")
def scorer(asked) -> Scorer:
    return Scorer(asked, 200, 0)


def accuracy(scorer: Scorer, answers: Answers) -> float:
    return scorer.accuracy(answers).value


def test_what_is_planted_in_a_vector_is_read_back(asked, scorer):
    planted = np.eye(4)[TASTES]
    assert accuracy(scorer, answer(asked, planted)) == 1.0
    # Also among many columns that say nothing, with more columns than users that are fitted to.
    wide = np.concatenate([planted, np.random.default_rng(0).normal(size=(len(USERS), 1200)) * 0.1], axis=1)
    assert accuracy(scorer, answer(asked, wide)) > 0.9


def test_without_the_user_nobody_beats_the_prior(asked, scorer):
    best = scorer.accuracy(prior(asked))
    assert best.value == pytest.approx(0.4, abs=0.06)
    planted = np.eye(4)[TASTES]
    for matrix in (shuffled(planted, 3), random(len(USERS), 3), np.zeros((len(USERS), 2))):
        found = scorer.accuracy(answer(asked, matrix)).minus(best)
        assert found.low <= 0


def test_questions_of_fitted_users_are_not_answered(asked):
    for answers in (prior(asked), answer(asked, np.eye(4)[TASTES])):
        assert np.array_equal(answers.choice_Q == NO_OPTION, asked.train_Q)


def test_the_position_of_an_option_decides_nothing():
    options = ["milk", "soap"]
    rows = [question(f"u{n}", "s", options[:: 1 if n % 2 else -1], "milk") for n in range(400)]
    one = Asked.of(table(rows))
    # Nobody is fitted to, so both options are equally good.
    chosen = answer(one, np.zeros((400, 1)))
    said = one.options_QK[np.arange(400), chosen.choice_Q]
    assert 150 < (said == 0).sum() < 250 and 150 < (chosen.choice_Q == 0).sum() < 250
    assert chosen.num_fallback == 400
    again = Asked.of(table(rows))
    assert np.array_equal(answer(again, np.zeros((400, 1))).choice_Q, chosen.choice_Q)


def test_a_slot_with_few_users_is_answered_by_the_commonest_and_counted():
    rows = [question(f"t{n:02}", "s", VALUES, "rice" if n < 11 else "tea", train=True) for n in range(19)]
    rows += [question(f"x{n:02}", "s", VALUES, "tea") for n in range(5)]
    found = answer(few := Asked.of(table(rows)), np.eye(24))
    assert found.num_fallback == 5
    assert {few.values[v] for v in few.options_QK[19:, :][np.arange(5), found.choice_Q[19:]]} == {"rice"}
    more = [*rows, question("t19", "s", VALUES, "rice", train=True)]
    assert answer(Asked.of(table(more)), np.eye(25)).num_fallback == 0


def test_what_was_never_right_is_the_last_choice():
    rows = [question(f"t{n:02}", "s", VALUES[:2], VALUES[n % 2], train=True) for n in range(40)]
    rows += [question(f"x{n:02}", "s", ["wine", "tea", "dairy"], "wine") for n in range(10)]
    one = Asked.of(table(rows))
    assert {
        one.values[one.options_QK[40 + n, choice]] for n, choice in enumerate(answer(one, np.eye(50)).choice_Q[40:])
    } == {"dairy"}


def test_options_of_different_numbers():
    rows = [question(f"t{n:02}", "s", VALUES[: 2 + n % 3], "dairy", train=n < 30) for n in range(60)]
    found = answer(Asked.of(table(rows)), np.ones((60, 1))).choice_Q[30:]
    assert set(found) == {0}


def test_both_forms_of_the_ridge_are_the_same():
    rng = np.random.default_rng(0)
    x, y, asked_of = rng.normal(size=(30, 30)), rng.normal(size=(30, 3)), rng.normal(size=(5, 30))
    primal = ridge(x, y, asked_of)
    # Columns of zeros say nothing, and make the vectors wider than users are many.
    dual = ridge(np.pad(x, ((0, 0), (0, 7))), y, np.pad(asked_of, ((0, 0), (0, 7))))
    np.testing.assert_allclose(primal, dual, rtol=1e-8)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    weights = np.linalg.solve(standard.T @ standard + 0.001 * 30 * 30 * np.eye(30), standard.T @ (y - y.mean(axis=0)))
    expected = (asked_of - x.mean(axis=0)) / x.std(axis=0) @ weights + y.mean(axis=0)
    np.testing.assert_allclose(primal, expected, rtol=1e-8)


def test_vectors_are_found_by_user_and_missing_ones_are_zeros():
    one = Asked.of(table([question(user, "s", VALUES, "tea") for user in ("c", "a", "b")]))
    found = one.matrix(UserVectors(np.array(["b", "x", "c"]), np.array([[1.0], [2.0], [3.0]])))
    assert found.tolist() == [[0.0], [1.0], [3.0]]


def test_whole_users_are_drawn():
    # One user is always right and the other never: replicates are 0, one half or 1, a quarter, a half and a quarter.
    rows = [question(user, f"s{n}", ["a", "b"], "a") for user in ("u", "v") for n in range(FEWEST_QUESTIONS)]
    one = Asked.of(table(rows))
    found = Scorer(one, 4000, 0).accuracy(Answers(np.repeat([0, 1], FEWEST_QUESTIONS)))
    assert found.value == 0.5
    values, counts = np.unique(found.replicates_R, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    np.testing.assert_allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.03)
    assert (found.estimate().low, found.estimate().high) == (0.0, 1.0)


def test_a_users_questions_weigh_as_many_as_they_are():
    # u answers 3 of 4 right, v none of 1; a draw of both gives 3 of 5, of u twice 6 of 8, of v twice 0 of 2.
    rows = [question("u", f"s{n}", ["a", "b"], "a") for n in range(4)] + [question("v", "s0", ["a", "b"], "a")]
    found = Scorer(Asked.of(table(rows)), 50, 0).accuracy(Answers(np.array([0, 0, 0, 1, 1])))
    assert found.value == pytest.approx(0.6)
    assert set(found.replicates_R.round(6)) == {0.0, 0.6, 0.75}


def test_lift_and_paired_differences(asked, scorer):
    best, all_right = scorer.accuracy(prior(asked)), scorer.accuracy(Answers(asked.gold_Q))
    assert all_right.lift(best).value == 1.0
    assert best.lift(best).value == 0.0
    same = best.minus(best)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    half = Answers(np.where(np.arange(len(asked)) % 2, asked.gold_Q, prior(asked).choice_Q))
    found = scorer.accuracy(half).lift(best)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx((scorer.accuracy(half).value - best.value) / (1 - best.value))


def test_the_mean_is_over_subtasks_and_few_questions_have_no_number():
    rows = [question(f"u{n}", "a", ["x", "y"], "x", subtask="DF") for n in range(400)]
    rows += [question(f"u{n}", "b", ["x", "y"], "x", subtask="MF", modality="") for n in range(200)]
    rows += [question(f"u{n}", "c", ["x", "y"], "x", subtask="IT") for n in range(199)]
    one = Asked.of(table(rows))
    scorer = Scorer(one, 20, 0)
    answers = Answers(np.where(one.subtask_Q == "DF", 0, 1))
    mean = macro(scorer.subtasks(answers))
    assert (mean.value, mean.num_questions) == (0.5, 600)
    report = make_report(one, scorer, {"published": answers, "prior": answers}, {}, Kept(None, None, None), {})
    assert report["subtasks"]["IT"]["published"] == {
        **dict.fromkeys(("acc", "low", "high", "prior", "lift", "lift_low", "lift_high")),
        "n": 199,
    }
    assert report["subtasks"]["DF"]["published"]["acc"] == 1.0
    assert list(report["modalities"]["MF"]) == ["all"]
    assert list(report["subtasks"]) == ["DF", "MF", "IT"]
    assert report["differences"]["published-prior"]["DF"]["value"] == 0.0
    assert report["differences"]["published-prior"]["IT"]["value"] is None


def test_the_same_vectors_are_at_parity(asked, scorer):
    planted = np.eye(4)[TASTES]
    answers = answer(asked, planted)
    found = parity(asked, scorer, (planted, planted.copy()), (answers, answers), 0.0)
    assert (found.holds, found.different, found.largest, found.agreement) == (True, 0, 0.0, 1.0)
    other = planted.copy()
    other[3] += 1e-6
    found = parity(asked, scorer, (planted, other), (answers, prior(asked)), 0.0)
    assert (found.holds, found.different) == (False, 1)
    assert found.agreement < 1 and found.difference.value > 0
    assert parity(asked, scorer, (planted, other), (answers, answers), 1e-5).holds


def test_freshness_is_on_questions_about_the_last_day():
    rows = [question(f"u{n}", "s", ["a", "b"], "a", touches_delta=n % 4 == 0) for n in range(400)]
    one = Asked.of(table(rows))
    stale = Answers(np.where(one.touches_delta_Q & (np.arange(400) % 8 == 0), 1, 0))
    found = freshness(one, Scorer(one, 50, 0), Answers(np.zeros(400, int)), stale)
    assert found.questions == 100
    assert (found.touched.value, found.others.value) == (0.5, 0.0)
    assert found.touched.low > 0


def test_bags_count_what_there_is_and_the_newest_events():
    # u0: tea tea rice; u1: nothing; u2: rice, and a state.
    log = Log(
        users=np.array(["u0", "u1", "u2"]),
        offsets_U1=np.array([0, 3, 3, 5]),
        word_E=np.array([0, 0, 1, 1, 2]),
        modality_E=np.array([0, 0, 0, 0, 1]),
        timed_E=np.array([True, True, True, True, False]),
        modalities=("bill", "app"),
        words=(("bill", "tea"), ("bill", "rice"), ("app", "mail")),
    )
    everyone = ["u0", "u1", "u2"]
    # Modalities, then values: of bill, both are had by two events, and names decide; then of app.
    assert np.expm1(bag(log, everyone)).round().tolist() == [[3, 0, 1, 2, 0], [0, 0, 0, 0, 0], [1, 1, 1, 0, 1]]
    assert np.expm1(bag(log, everyone, newest=2)).round().tolist() == [
        [2, 0, 1, 1, 0],
        [0, 0, 0, 0, 0],
        [1, 0, 1, 0, 0],
    ]
    # What nobody has who is fitted to is not counted.
    assert bag(log, ["u0"]).shape == (3, 4)


def report_of(value: float, high: float, n: int) -> dict:
    found = {"value": value, "low": value - 0.01, "high": high, "n": n}
    return {"differences": {"candidate-published": {"DF": found, "macro": {**found, "value": -0.9}}}}


@pytest.mark.parametrize(
    ("value", "high", "n", "kept"),
    [
        (-0.03, -0.01, 1000, True),
        (-0.03, -0.01, 999, False),
        (-0.03, 0.001, 5000, False),
        (-0.02, -0.01, 5000, False),
        (0.03, 0.04, 5000, False),
    ],
)
def test_a_model_that_forgets_is_kept_from_promotion(value, high, n, kept, tmp_path):
    found = gate.lost(report_of(value, high, n))
    assert bool(found) == kept
    if kept:
        assert "DF" in found[0] and "-0.0300" in found[0]
        with pytest.raises(VerificationError, match="forgets"):
            gate.raise_if_lost(written(tmp_path, report_of(value, high, n)))


def written(directory: Path, report: dict) -> str:
    file = directory / "report.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    return str(file)


def test_without_a_candidate_the_gate_is_open(tmp_path):
    gate.raise_if_lost(written(tmp_path, {"differences": {}}))


def test_what_makes_a_day_wrong(tmp_path):
    fine = {
        "ds": "2024-01-01",
        "parity": {"holds": True, "different": 0, "users": 3, "largest": 0.0},
        "locality": {"holds": True, "different": 0, "pairs": 3, "changed": 0},
        "questions": {"removed": {"leak_refused": 0}},
    }
    gate.raise_if_wrong(written(tmp_path, fine))
    gate.raise_if_wrong(written(tmp_path, {**fine, "parity": None, "locality": None}))
    for part, value in (
        ("parity", {**fine["parity"], "holds": False, "different": 2}),
        ("locality", {**fine["locality"], "holds": False, "changed": 1}),
        ("questions", {"removed": {"leak_refused": 5}}),
    ):
        with pytest.raises(VerificationError, match="is wrong"):
            gate.raise_if_wrong(written(tmp_path, {**fine, part: value}))
