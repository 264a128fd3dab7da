"""Embeddings of a report as a picture that goes into its page: it needs matplotlib and scikit-learn."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from updater.errors import ConfigError
from updater.evaluation.metrics import Floats

MAX_POINTS = 1_000
"""Users of a scatter plot; t-SNE of more takes long and shows no more."""
SEED = 0
COLOURS = ("#4477aa", "#cc3311")
"""Blue and red that differ in brightness too; label false, label true."""


@dataclass(frozen=True, eq=False)
class Points:
    """Embeddings of the same rows before and after something."""

    task: str
    label: NDArray[np.bool_]
    embeddings: Mapping[str, Floats]
    """By system, shape (rows, E)."""


@dataclass(frozen=True)
class Picture:
    """Drawn points, to stand in a page."""

    task: str
    systems: tuple[str, ...]
    url: str
    """A data URL."""


def draw(points: Points) -> Picture:
    """PCA and t-SNE of the embeddings."""
    return Picture(points.task, tuple(points.embeddings), scatter(points))


def scatter(points: Points) -> str:
    """PCA and t-SNE of the embeddings, as the data URL of a PNG."""
    chosen = _sample(len(points.label))
    label = points.label[chosen]
    size = (4.0 * len(points.embeddings), 7.6)
    figure = _module("matplotlib.figure").Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, len(points.embeddings), squeeze=False)
    for column, (name, embeddings) in enumerate(points.embeddings.items()):
        for row, (method, project) in enumerate((("PCA", _pca), ("t-SNE", _tsne))):
            axes = grid[row][column]
            at = project(embeddings[chosen])
            for value, colour in zip((False, True), COLOURS, strict=True):
                axes.scatter(*at[label == value].T, s=5, c=colour, alpha=0.6, linewidths=0, label=str(value).lower())
            axes.set_title(f"{method}, {name}", parse_math=False)
            axes.set_xticks([])
            axes.set_yticks([])
    grid[0][0].legend(title="label", markerscale=3)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _sample(rows: int) -> NDArray[np.int64]:
    if rows <= MAX_POINTS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(SEED).choice(rows, MAX_POINTS, replace=False))


def _pca(values: Floats) -> Floats:
    at: Floats = _module("sklearn.decomposition").PCA(2, random_state=SEED).fit_transform(values)
    return at


def _tsne(values: Floats) -> Floats:
    perplexity = min(30.0, max(1.0, (len(values) - 1) / 3))
    made = _module("sklearn.manifold").TSNE(2, perplexity=perplexity, init="pca", random_state=SEED)
    at: Floats = made.fit_transform(values)
    return at


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        missing = name.partition(".")[0]
        raise ConfigError(f"a report needs {missing}; install it with `pip install 'updater[evaluate]'`.") from None


def needed(modules: Sequence[str] = ("matplotlib", "sklearn")) -> None:
    """Raise ConfigError if a package that a report needs is not installed, before hours were spent on it."""
    for name in modules:
        _module(name)
