"""Dots with intervals as a picture: where everything lies in it, for the template that draws it. Pure.

A picture is 360 units wide, so that on a telephone a unit is a pixel and its words stay readable.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

Point = tuple[float | None, float | None, float | None]
"""A value and the ends of its interval."""
COLORS = 7
"""How many colors there are: the classes `s0` to `s6` of the page's style."""
WIDTH, RIGHT = 360.0, 18.0
LETTER = 6.8
"""Width of a letter of a name."""
MOST_LETTERS = 22
"""Letters of a name that fit in front of a row."""
ROW, DOT_STEP, TOP = 14.0, 9.0, 8.0
BELOW = 18.0
"""Height of the axis' numbers."""
TICK = 46.0
"""Room for a number on the axis."""


@dataclass(frozen=True)
class Dot:
    """A value in a row."""

    x: float
    low: float
    high: float
    y: float
    color: int
    said: str
    """Shown to whoever points at it."""


@dataclass(frozen=True)
class Chart:
    """A picture in its own units."""

    width: float
    height: float
    bottom: float
    """Where the axis lies."""
    label_x: float
    """Where the names of the rows end."""
    labels: tuple[tuple[str, float], ...]
    """Names of the rows, and their heights."""
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[str, float], ...]
    """Numbers on the axis, and their places."""
    zero: float | None
    """Where nothing lies, if values lie on both sides of it."""
    legend: tuple[tuple[str, int], ...]
    """Names of the series, and their colors; empty for a single one."""


def dot_chart(rows: Mapping[str, Mapping[str, Point]], *, percent: bool = False) -> Chart:
    """A row to a name, a color to a series; values that are not known are left out.

    Args:
        rows: the points by row and series.
        percent: True for shares from 0 to 1, which are written as percent.
    """
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    known = [v for row in rows.values() for point in row.values() for v in point if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    margin = 0.04 * (high - low) or 0.01
    low, high = low - margin, high + margin
    left = LETTER * min(max(map(len, rows), default=0), MOST_LETTERS) + 12
    wide = WIDTH - left - RIGHT

    def place(value: float) -> float:
        return round(left + wide * (value - low) / (high - low), 2)

    labels, dots, y = [], [], TOP
    for label, row in rows.items():
        height = max(ROW, DOT_STEP * len(row))
        labels.append((_shortened(label), round(y + height / 2, 2)))
        for number, (name, (value, begin, end)) in enumerate(row.items()):
            if value is not None:
                at = y + height * (number + 0.5) / len(row)
                begin, end = (value if edge is None else edge for edge in (begin, end))
                written = f"{100 * value:.1f} %" if percent else f"{value:z.4f}"
                said = f"{label} {name}".strip() + f": {_minus(written)}"
                dots.append(
                    Dot(place(value), place(begin), place(end), round(at, 2), series.index(name) % COLORS, said)
                )
        y += height + TOP
    return Chart(
        width=WIDTH,
        height=y + BELOW,
        bottom=y,
        label_x=round(left - 8, 2),
        labels=tuple(labels),
        dots=tuple(dots),
        ticks=tuple((text, place(value)) for text, value in _ticks(low, high, int(wide // TICK), percent=percent)),
        zero=place(0.0) if low < 0.0 < high else None,
        legend=tuple((name, n % COLORS) for n, name in enumerate(series)) if len(series) > 1 else (),
    )


def _ticks(low: float, high: float, most: int, *, percent: bool) -> list[tuple[str, float]]:
    """At most so many round numbers between two values, or one more, with as many digits as they need."""
    scale = 100 if percent else 1
    low, high = scale * low, scale * high
    power = math.floor(math.log10((high - low) / most))
    steps = (factor * 10.0**power for factor in (1, 2, 5, 10))
    step = next(step for step in steps if (high - low) / step <= most)
    digits, unit = max(0, -math.floor(math.log10(step) + 1e-9)), " %" if percent else ""
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(_minus(f"{number * step:z.{digits}f}{unit}"), number * step / scale) for number in numbers]


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _minus(text: str) -> str:
    """A sign that is as wide as the other one."""
    return text.replace("-", "−")
