"""The models that turn features or embeddings into scores of a task; both need scikit-learn.

An embedding is evaluated by a linear probe, as in the paper (section 4.1): what a linear model cannot read off it does
not count. The same two models on baseline features are what an embedding is compared with.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from updater.errors import ConfigError

Floats = NDArray[np.float64]
Scorer = Callable[[Floats], Floats]
"""Takes features (rows, columns) and returns a probability of the label for each row."""
Widths = Sequence[int]
"""Columns of each part of the features, in their order."""
TOLERANCE = 1e-6
"""Largest gradient at which a fit ends: so small that where it began does not show."""


@dataclass(frozen=True)
class Penalty:
    """How strongly a probe is held to small weights."""

    inverse: float
    """scikit-learn's C."""
    by_part: bool = False
    """Every part of the features spreads as much as any other, however many columns it has.

    Otherwise every column does. Then the one column for recency is lost beside the 128 of an embedding where there are
    few labels. Kernels of several sources are brought to one trace in the same way (Lanckriet et al., JMLR 5, 2004).
    """


def fit_logistic(features: Floats, label: NDArray[np.bool_], inverse_penalty: float = 0.02) -> Scorer:
    """Standardize each column, then fit a logistic regression with an L2 penalty.

    Args:
        features: (rows, columns); columns with long tails, such as amounts, are better given as logarithms.
        label: (rows,), with both classes.
        inverse_penalty: scikit-learn's C; a small one, because baselines have many columns that say nearly the same.

    Raises:
        ConfigError: scikit-learn is not installed, or the labels are all alike.
    """
    return next(logistic_path(features, label, [Penalty(inverse_penalty)]))


def logistic_path(
    features: Floats, label: NDArray[np.bool_], penalties: Sequence[Penalty], widths: Widths = ()
) -> Iterator[Scorer]:
    """`fit_logistic` for each penalty; each begins where the one before ended, as long as both are of one kind.

    A scorer is good until the next one is asked for.

    Args:
        features: (rows, columns).
        label: (rows,), with both classes.
        penalties: what is tried, one kind after the other, the strongest first.
        widths: columns of each part; a single one if left out.

    Raises:
        ConfigError: scikit-learn is not installed, or the labels are all alike.
    """
    _check(label)
    preprocessing, linear = _sklearn("preprocessing"), _sklearn("linear_model")
    scaler = preprocessing.StandardScaler()
    scaled = scaler.fit_transform(features)
    widths = widths or [features.shape[1]]
    for by_part, of_kind in groupby(penalties, lambda penalty: penalty.by_part):
        weights = np.repeat([width**-0.5 if by_part else 1.0 for width in widths], widths)
        weighed, scale = scaled * weights, partial(_weighed, scaler, weights)
        model = linear.LogisticRegression(solver="newton-cholesky", warm_start=True, tol=TOLERANCE)
        for penalty in of_kind:
            yield _scorer(model.set_params(C=penalty.inverse).fit(weighed, label), scale)


def fit_boosting(features: Floats, label: NDArray[np.bool_], iterations: int = 150, seed: int = 0) -> Scorer:
    """Fit gradient boosting over histograms of the columns, with scikit-learn's defaults otherwise.

    Raises:
        ConfigError: scikit-learn is not installed, or the labels are all alike.
    """
    _check(label)
    model = _sklearn("ensemble").HistGradientBoostingClassifier(max_iter=iterations, random_state=seed)
    return _scorer(model.fit(features, label))


def _weighed(scaler: Any, weights: Floats, features: Floats) -> Floats:
    weighed: Floats = scaler.transform(features) * weights
    return weighed


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
