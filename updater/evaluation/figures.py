"""The figures of a report, as text that goes into a page: they need matplotlib, and the projections scikit-learn."""

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


def bars(mean: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """Mean AUC or KS of each system with its interval, as SVG."""
    names = list(mean)
    figure = _figure(7.0, 0.4 * len(names) + 0.9)
    axes = figure.subplots()
    values = [mean[name][metric] or 0.0 for name in names]
    errors = _errors(mean, values, metric)
    axes.barh(range(len(names)), values, xerr=errors, color=COLOURS[0], capsize=3)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(left=0.5 if metric == "auc" and min(values, default=0) >= 0.5 else 0.0)
    axes.set_xlabel(f"mean {metric.upper()} over the tasks, 95 % interval")
    return _svg(figure)


def differences(found: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """Differences of the mean AUC or KS to a reference with their intervals, around a line at 0, as SVG."""
    names = list(found)
    figure = _figure(7.0, 0.3 * len(names) + 0.9)
    axes = figure.subplots()
    values = [found[name][metric] or 0.0 for name in names]
    axes.errorbar(values, range(len(names)), xerr=_errors(found, values, metric), fmt="o", color=COLOURS[0], capsize=3)
    axes.axvline(0.0, color="#888888", linewidth=1)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel(f"difference of the mean {metric.upper()}, 95 % interval")
    return _svg(figure)


def scatter(points: Points) -> str:
    """PCA and t-SNE of the embeddings, as the data URL of a PNG."""
    chosen = _sample(len(points.label))
    label = points.label[chosen]
    figure = _figure(4.0 * len(points.embeddings), 7.6)
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


def _errors(found: Mapping[str, Mapping[str, Any]], values: Sequence[float], metric: str) -> list[list[float]]:
    """How far the interval of each value reaches down and up; 0 where there is none."""

    def reach(end: float | None, value: float, sign: int) -> float:
        return 0.0 if end is None else max(0.0, sign * (end - value))

    pairs = list(zip(found.values(), values, strict=True))
    ends = (("low", -1), ("high", 1))
    return [[reach(one[f"{metric}_{end}"], value, sign) for one, value in pairs] for end, sign in ends]


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()[out.getvalue().index("<svg") :]


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


def _figure(width: float, height: float) -> Any:
    # Ids in an SVG are random unless salted.
    _module("matplotlib").rcParams["svg.hashsalt"] = "updater"
    return _module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


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
