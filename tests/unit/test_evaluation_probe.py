import importlib

import numpy as np
import pytest

from updater.errors import ConfigError
from updater.evaluation.metrics import auc_and_ks
from updater.evaluation.probe import Penalty, fit_boosting, fit_logistic, logistic_path
from updater.evaluation.scoring import PENALTIES, fit_and_score

pytest.importorskip("sklearn")


def data(rule):
    features = np.random.default_rng(0).normal(size=(600, 3))
    return features, rule(features)


def test_logistic_regression_finds_a_line_whatever_the_scale_of_its_column():
    features, label = data(lambda x: x[:, 0] + x[:, 1] > 0)
    scaled = features * [1.0, 1_000.0, 1.0]

    score = fit_logistic(features[:400], label[:400])(features[400:])
    assert score.shape == (200,)
    assert auc_and_ks(label[400:], score)[0] > 0.99
    assert fit_logistic(scaled[:400], label[:400])(scaled[400:]) == pytest.approx(score, abs=1e-3)


def test_boosting_finds_what_is_not_a_line():
    features, label = data(lambda x: x[:, 0] * x[:, 1] > 0)

    linear, boosted = (fit(features[:400], label[:400])(features[400:]) for fit in (fit_logistic, fit_boosting))
    assert auc_and_ks(label[400:], linear)[0] < 0.7
    assert auc_and_ks(label[400:], boosted)[0] > 0.9


@pytest.mark.parametrize("fit", [fit_logistic, fit_boosting])
def test_labels_that_are_all_alike_are_refused(fit):
    with pytest.raises(ConfigError, match="all 2 training labels are the same"):
        fit(np.zeros((2, 1)), np.array([True, True]))


@pytest.mark.parametrize("fit", [fit_logistic, fit_boosting])
def test_a_missing_package_is_named_with_its_install_command(monkeypatch, fit):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'updater\[evaluate\]'"):
        fit(np.zeros((2, 1)), np.array([True, False]))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(900, 8))
    # Columns that say nearly the same, one that says nothing, and scales that differ.
    features = np.concatenate([hidden @ rng.normal(size=(8, 30)), np.zeros((900, 1)), 1e3 * hidden[:, :2]], axis=1)
    return features, hidden[:, 0] + rng.normal(size=900) > 0.5


def test_a_penalty_on_the_path_is_that_penalty_alone(rows):
    features, label = rows
    alone = [fit_logistic(features[:600], label[:600], one.inverse)(features[600:]) for one in PENALTIES]
    path = [score(features[600:]) for score in logistic_path(features[:600], label[:600], PENALTIES)]

    for one, other in zip(alone, path, strict=True):
        assert np.abs(one - other).max() < 1e-5
    assert np.abs(path[0] - path[-1]).max() > 0.05


def test_the_probe_is_scikit_learns(rows):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, label = rows
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=1000, tol=1e-8)).fit(features, label)
    assert fit_logistic(features, label, 0.02)(features) == pytest.approx(plain.predict_proba(features)[:, 1], abs=1e-5)


def test_validation_and_test_rows_are_scored_for_each_penalty(rows):
    features, label = rows
    found = fit_and_score(features[:600], label[:600], features[600:700], features[700:], PENALTIES[:2])
    assert [(len(validation), len(test)) for validation, test in found] == [(100, 200)] * 2
    [(nothing, test)] = fit_and_score(features[:600], label[:600], features[:0], features[700:], PENALTIES[1:2])
    assert len(nothing) == 0 and test == pytest.approx(found[1][1], abs=1e-5)


def test_parts_that_weigh_alike_are_the_probe_of_columns_over_the_root_of_their_number(rows):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, label = rows
    scaled = StandardScaler().fit_transform(features)
    scaled[:, :-1] /= (features.shape[1] - 1) ** 0.5
    expected = LogisticRegression(C=0.1, max_iter=1000, tol=1e-8).fit(scaled, label).predict_proba(scaled)[:, 1]
    penalties = [Penalty(0.002), Penalty(0.02), Penalty(0.01, by_part=True), Penalty(0.1, by_part=True)]
    found = [score(features) for score in logistic_path(features, label, penalties, [features.shape[1] - 1, 1])]

    assert found[3] == pytest.approx(expected, abs=1e-5)
    # Neither kind begins where the other ended.
    assert found[1] == pytest.approx(fit_logistic(features, label, 0.02)(features), abs=1e-5)
    assert np.abs(found[1] - found[3]).max() > 0.05


def test_by_part_one_telling_column_is_not_lost_among_many(rows):
    rng = np.random.default_rng(1)
    telling = rng.normal(size=(900, 1))
    label = telling[:, 0] + rng.normal(size=900) > 0
    features, widths = np.concatenate([rng.normal(size=(900, 300)), telling], axis=1), [300, 1]
    aucs = {}
    for by_part in (False, True):
        tried = [Penalty(inverse, by_part) for inverse in (0.0005, 0.02, 0.5)]
        found = logistic_path(features[:300], label[:300], tried, widths)
        aucs[by_part] = max(auc_and_ks(label[300:], score(features[300:]))[0] for score in found)
    assert aucs[True] > aucs[False] + 0.05
