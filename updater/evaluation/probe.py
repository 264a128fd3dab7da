"""The models that turn features or embeddings into scores of a task; both need scikit-learn.

An embedding is evaluated by a linear probe, as in the paper (section 4.1): what a linear model cannot read off it does
not count. The same two models on baseline features are what an embedding is compared with.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from updater.errors import ConfigError

Floats = NDArray[np.float64]
Scorer = Callable[[Floats], Floats]
"""Takes features (rows, columns) and returns a probability of the label for each row."""
TOLERANCE = 1e-6
"""Largest gradient at which a fit ends: so small that where it began does not show."""


def fit_logistic(features: Floats, label: NDArray[np.bool_], inverse_penalty: float = 0.02) -> Scorer:
    """Standardize each column, then fit a logistic regression with an L2 penalty.

    Args:
        features: (rows, columns); columns with long tails, such as amounts, are better given as logarithms.
        label: (rows,), with both classes.
        inverse_penalty: scikit-learn's C; a small one, because baselines have many columns that say nearly the same.

    Raises:
        ConfigError: scikit-learn is not installed, or the labels are all alike.
    """
    return next(logistic_path(features, label, [inverse_penalty]))


def logistic_path(features: Floats, label: NDArray[np.bool_], inverse_penalties: Sequence[float]) -> Iterator[Scorer]:
    """`fit_logistic` for each penalty, from the strongest to the weakest: each begins where the one before ended.

    A scorer is good until the next one is asked for.

    Raises:
        ConfigError: scikit-learn is not installed, or the labels are all alike.
    """
    _check(label)
    preprocessing, linear = _sklearn("preprocessing"), _sklearn("linear_model")
    scaler = preprocessing.StandardScaler()
    scaled = scaler.fit_transform(features)
    model = linear.LogisticRegression(solver="newton-cholesky", warm_start=True, tol=TOLERANCE)
    for inverse_penalty in inverse_penalties:
        yield _scorer(model.set_params(C=inverse_penalty).fit(scaled, label), scaler.transform)


def fit_boosting(features: Floats, label: NDArray[np.bool_], iterations: int = 150, seed: int = 0) -> Scorer:
    """Fit gradient boosting over histograms of the columns, with scikit-learn's defaults otherwise.

    Raises:
        ConfigError: scikit-learn is not installed, or the labels are all alike.
    """
    _check(label)
    model = _sklearn("ensemble").HistGradientBoostingClassifier(max_iter=iterations, random_state=seed)
    return _scorer(model.fit(features, label))


def _scorer(model: Any, scale: Callable[[Floats], Floats] = lambda features: features) -> Scorer:
    def score(features: Floats) -> Floats:
        return np.asarray(model.predict_proba(scale(features))[:, 1], dtype=float)

    return score


def _check(label: NDArray[np.bool_]) -> None:
    if label.all() or not label.any():
        raise ConfigError(f"all {len(label)} training labels are the same; choose other anchors, or drop the task.")


def _sklearn(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"sklearn.{module}")
    except ModuleNotFoundError:
        raise ConfigError("evaluation needs scikit-learn; install it with `pip install 'updater[evaluate]'`.") from None
