"""Dots with intervals as a picture: where everything lies in it, for the template that draws it."""

from collections.abc import Mapping
from dataclasses import dataclass

Point = tuple[float | None, float | None, float | None]
"""A value and the ends of its interval."""
COLORS = ("#4477aa", "#cc3311", "#228833", "#ee7733", "#aa3377", "#777777", "#33bbee")
"""That differ in brightness too, for people who do not see all colors."""
LEFT, WIDTH, RIGHT = 90.0, 560.0, 20.0
ROW, DOT_STEP, TOP = 14.0, 9.0, 8.0
TICKS = 5


@dataclass(frozen=True)
class Dot:
    """A value in a row."""

    x: float
    low: float
    high: float
    y: float
    color: str
    said: str
    """Shown to whoever points at it."""


@dataclass(frozen=True)
class Chart:
    """A picture in its own units."""

    width: float
    height: float
    bottom: float
    """Where the axis lies."""
    labels: tuple[tuple[str, float], ...]
    """Names of the rows, and their heights."""
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[str, float], ...]
    """Numbers on the axis, and their places."""
    legend: tuple[tuple[str, str], ...]
    """Names of the series, and their colors; empty for a single one."""


def dot_chart(rows: Mapping[str, Mapping[str, Point]]) -> Chart:
    """Shares from 0 to 1, a row to a name, a color to a series; values that are not known are left out."""
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    known = [v for row in rows.values() for point in row.values() for v in point if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    low, high = max(0.0, low - 0.02), min(1.0, high + 0.02)

    def place(value: float) -> float:
        return round(LEFT + WIDTH * (value - low) / (high - low), 2)

    labels, dots, y = [], [], TOP
    for label, row in rows.items():
        height = max(ROW, DOT_STEP * len(row))
        labels.append((label, round(y + height / 2, 2)))
        for number, (name, (value, begin, end)) in enumerate(row.items()):
            if value is not None:
                at = y + height * (number + 0.5) / len(row)
                begin, end = (value if edge is None else edge for edge in (begin, end))
                said = f"{label} {name}".strip() + f": {100 * value:.1f} %"
                color = COLORS[series.index(name) % len(COLORS)]
                dots.append(Dot(place(value), place(begin), place(end), round(at, 2), color, said))
        y += height + TOP
    steps = [low + (high - low) * step / (TICKS - 1) for step in range(TICKS)]
    return Chart(
        width=LEFT + WIDTH + RIGHT,
        height=y + 18,
        bottom=y,
        labels=tuple(labels),
        dots=tuple(dots),
        ticks=tuple((f"{100 * value:.0f} %", place(value)) for value in steps),
        legend=tuple((name, COLORS[n % len(COLORS)]) for n, name in enumerate(series)) if len(series) > 1 else (),
    )
