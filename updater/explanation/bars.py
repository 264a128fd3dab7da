"""Bars to both sides of a line as a picture: where everything lies in it, for the template that draws it."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, ROW, BAR = 480.0, 40.0, 12.0
NUMBER = 64.0
"""Room for a number beside a bar."""
LONGEST_LABEL = 60
UP, DOWN = "#4477aa", "#cc3311"
"""That differ in brightness too, for people who do not see all colors."""


@dataclass(frozen=True)
class Bar:
    """A value in a row."""

    label: str
    said: str
    """The number as text."""
    x: float
    width: float
    y: float
    color: str
    number_x: float
    anchor: str
    """Which end of the number lies at `number_x`."""


@dataclass(frozen=True)
class BarChart:
    """A picture in its own units."""

    width: float
    height: float
    bar: float
    """Height of a bar."""
    zero: float
    """Where nothing lies."""
    label_x: float
    """Where labels begin: not on the line."""
    bars: tuple[Bar, ...]


def bar_chart(values: Sequence[tuple[str, float]]) -> BarChart:
    """Labelled numbers, a row each: positive ones to the right of the line, negative ones to the left."""
    low = min(0.0, *(value for _, value in values)) if values else 0.0
    high = max(0.0, *(value for _, value in values)) if values else 0.0
    left = NUMBER if low < 0 else 4.0
    scale = (WIDTH - left - NUMBER) / ((high - low) or 1.0)
    zero = left - low * scale
    bars = []
    for row, (label, value) in enumerate(values):
        length = abs(value) * scale
        begin = zero if value >= 0 else zero - length
        bars.append(
            Bar(
                label=label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…",
                said=signed(value),
                x=round(begin, 2),
                width=round(length, 2),
                y=ROW * row + 18,
                color=UP if value >= 0 else DOWN,
                number_x=round(zero + length + 4 if value >= 0 else begin - 4, 2),
                anchor="start" if value >= 0 else "end",
            )
        )
    return BarChart(WIDTH, ROW * len(values) + 4, BAR, round(zero, 2), 0.0 if low < 0 else left + 4, tuple(bars))


def signed(value: float) -> str:
    """Four digits behind the point; a sign that is as wide as the other one."""
    return f"{value:+.4f}".replace("-", "−")
