import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.evaluation.metrics import Predictions, auc_and_ks, bootstrap, mean_over_tasks

metrics = pytest.importorskip("sklearn.metrics")


def predictions(seed, num_users=200, rows_per_user=1, signal=1.0):
    rng = np.random.default_rng(seed)
    users = np.array([f"u{i:04}" for i in range(num_users)])
    label = rng.random(num_users) < 0.3
    score = rng.normal(size=num_users) + signal * label
    return Predictions(*(np.repeat(values, rows_per_user) for values in (users, label, score)))


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40))
def test_auc_and_ks_with_ties_are_those_of_scikit_learn(rows):
    label = np.array([row[0] for row in rows])
    score = np.array([row[1] for row in rows], dtype=float)
    auc, ks = auc_and_ks(label, score)
    if label.all() or not label.any():
        assert np.isnan([auc, ks]).all()
        return
    false_rate, true_rate, _ = metrics.roc_curve(label, score, drop_intermediate=False)
    assert auc == pytest.approx(metrics.roc_auc_score(label, score), abs=1e-12)
    assert ks == pytest.approx(np.abs(true_rate - false_rate).max(), abs=1e-12)


def test_a_score_that_says_nothing():
    assert auc_and_ks(np.array([True, False, True]), np.zeros(3)) == (0.5, 0.0)


def test_ks_counts_the_wrong_direction_too():
    assert auc_and_ks(np.array([True, True, False]), np.array([0.0, 1.0, 2.0])) == (0.0, 1.0)


def test_a_replicate_is_the_metric_of_the_rows_of_the_users_drawn():
    one = predictions(3, num_users=40, rows_per_user=2)
    users = np.unique(one.user)
    found = bootstrap(one, replicates=20, seed=5)

    draws = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), size=20)
    for draw, auc, ks in zip(draws, found.auc_replicates, found.ks_replicates, strict=True):
        rows = np.concatenate([np.flatnonzero(one.user == user) for user in np.repeat(users, draw)])
        assert (auc, ks) == pytest.approx(auc_and_ks(one.label[rows], one.score[rows]))


def test_repeated_rows_of_a_user_do_not_make_the_error_smaller():
    once, often = (bootstrap(predictions(1, rows_per_user=n)).estimates()[0] for n in (1, 9))

    assert often.value == pytest.approx(once.value)
    assert often.se == pytest.approx(once.se)
    assert once.low < once.value < once.high
    assert 0.02 < once.se < 0.08


def test_the_error_of_a_mean_counts_what_the_tasks_share():
    task = predictions(1)
    alone = bootstrap(task, seed=2).estimates()[0]
    twice = mean_over_tasks({"a": task, "b": task}, seed=2).estimates()[0]
    apart = mean_over_tasks({str(seed): predictions(seed) for seed in range(4)}, seed=2).estimates()[0]

    assert twice == pytest.approx(alone)
    assert apart.se < 0.7 * alone.se


def test_a_paired_difference_is_surer_than_its_parts():
    strong = predictions(1)
    rng = np.random.default_rng(9)
    weak = Predictions(strong.user, strong.label, strong.score + 0.3 * rng.normal(size=len(strong.score)))
    a, b = bootstrap(strong, seed=4), bootstrap(weak, seed=4)

    gain = a.minus(b)[0]
    assert gain.value == a.auc - b.auc
    assert gain.se < a.estimates()[0].se / 2
    assert a.minus(a)[0].se == 0


def test_no_rows_and_one_class_have_no_value():
    empty = Predictions(np.array([], dtype=str), np.array([], dtype=bool), np.array([]))
    assert np.isnan(auc_and_ks(empty.label, empty.score)).all()
    one_class = Predictions(np.array(["a", "b"]), np.array([True, True]), np.array([0.0, 1.0]))
    assert np.isnan(bootstrap(one_class, replicates=5).estimates()[0].se)


@pytest.mark.parametrize("score", [[0.0], [0.0, np.nan]])
def test_arrays_that_do_not_fit_are_refused(score):
    with pytest.raises(ValueError, match=r"differ|finite"):
        Predictions(np.array(["a", "b"]), np.array([True, False]), np.array(score))
