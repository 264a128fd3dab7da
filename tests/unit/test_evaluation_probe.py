import importlib

import numpy as np
import pytest

from updater.errors import ConfigError
from updater.evaluation.metrics import auc_and_ks
from updater.evaluation.probe import fit_boosting, fit_logistic

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
