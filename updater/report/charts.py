"""Pictures as numbers: where every bar, dot and word lies, for the templates that draw them. Pure.

A picture is 360 units wide, so that on a telephone a unit is a pixel and its words stay readable.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

WIDTH = 360.0
LEFT, RIGHT, TOP = 44.0, 8.0, 10.0
PLOT_HEIGHT = 120.0
BELOW = 18.0
ROW = 22.0
NAMES = 118.0
"""Width of the names in front of rows."""
VALUES = 52.0
"""Width of the numbers behind rows."""
MAX_BAR = 28.0
FILLED = 0.72
"""Share of its place that a bar takes."""

Say = Callable[[float], str]
"""A number as a reader sees it."""


@dataclass(frozen=True)
class Bar:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    series: int
    """Number of its color."""
    said: str
    """Shown to whoever points at it."""


@dataclass(frozen=True)
class Word:
    """A text at a place."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Dot:
    """A value in a row."""

    x: float
    y: float
    said: str


@dataclass(frozen=True)
class Chart:
    """A picture in its own units."""

    title: str
    said: str
    """What it shows, for those who do not see it."""
    height: float
    bars: tuple[Bar, ...] = ()
    dots: tuple[Dot, ...] = ()
    words: tuple[Word, ...] = ()
    lines: tuple[tuple[float, float, float, float], ...] = ()
    """Of the grid: from x, y to x, y."""
    limit: tuple[float, float, float, float] | None = None
    """Where a threshold lies."""
    legend: tuple[tuple[str, int], ...] = ()
    """Names of the series and numbers of their colors; empty for a single one."""
    width: float = WIDTH


def columns(
    title: str, days: Sequence[str], series: Mapping[str, Sequence[float]], say: Say, top: float | None = None
) -> Chart:
    """A column for each day; several series lie on top of each other.

    Args:
        title: what is shown.
        days: landing days, oldest first.
        series: a value for each day, by name.
        say: writes a value.
        top: where the axis ends; at a round number above the highest column if left out.
    """
    totals = [sum(values) for values in zip(*series.values(), strict=True)]
    end = top or round_up(max(totals, default=0.0))
    place = (WIDTH - LEFT - RIGHT) / max(len(days), 1)
    width = min(place * FILLED, MAX_BAR)
    bottom = TOP + PLOT_HEIGHT
    bars = []
    for number, day in enumerate(days):
        x, y = LEFT + place * (number + 0.5) - width / 2, bottom
        for color, (name, values) in enumerate(series.items()):
            height = PLOT_HEIGHT * min(values[number] / end, 1.0)
            y -= height
            if height:
                said = f"{day}, {name}: {say(values[number])}" if len(series) > 1 else f"{day}: {say(values[number])}"
                bars.append(Bar(_at(x), _at(y), _at(width), _at(height), color, said))
    ticks = [(bottom - PLOT_HEIGHT * share, say(end * share)) for share in (0.0, 0.5, 1.0)]
    shown = dict.fromkeys((0, len(days) // 2, len(days) - 1)) if days else {}
    return Chart(
        title,
        _summary(title, days, totals, say),
        bottom + BELOW,
        tuple(bars),
        words=(
            *(Word(LEFT - 6, _at(y + 4), text, "end") for y, text in ticks),
            *(Word(_at(LEFT + place * (n + 0.5)), bottom + 14, days[n][5:]) for n in shown),
        ),
        lines=tuple((LEFT, _at(y), WIDTH - RIGHT, _at(y)) for y, _ in ticks),
        legend=tuple((name, color) for color, name in enumerate(series)) if len(series) > 1 else (),
    )


def small_columns(title: str, days: Sequence[str], rows: Mapping[str, Sequence[float]], say: Say) -> Chart:
    """A row of small columns for each name, each with an axis of its own; behind it is its highest value."""
    place = (WIDTH - NAMES - VALUES) / max(len(days), 1)
    width = min(place * FILLED, MAX_BAR)
    bars, words, lines = [], [], []
    for row, (name, values) in enumerate(rows.items()):
        bottom, highest = TOP + ROW * (row + 1) - 4, max(values, default=0.0)
        words.append(Word(NAMES - 8, bottom - 3, shortened(name), "end"))
        words.append(Word(WIDTH - VALUES + 6, bottom - 3, say(highest), "start"))
        lines.append((NAMES, bottom, WIDTH - VALUES, bottom))
        for number, value in enumerate(values):
            if value:
                height = (ROW - 6) * value / highest
                x = NAMES + place * (number + 0.5) - width / 2
                said = f"{days[number]}, {name}: {say(value)}"
                bars.append(Bar(_at(x), _at(bottom - height), _at(width), _at(height), 0, said))
    bottom = TOP + ROW * len(rows)
    shown = dict.fromkeys((0, len(days) - 1)) if days else {}
    words += [Word(_at(NAMES + place * (n + 0.5)), bottom + 12, days[n][5:]) for n in shown]
    said = f"{title}: " + "; ".join(f"{name} at most {say(max(values, default=0.0))}" for name, values in rows.items())
    return Chart(title, said, bottom + BELOW, tuple(bars), words=tuple(words), lines=tuple(lines))


def dots(title: str, rows: Mapping[str, float], limit: float | None, say: Say) -> Chart:
    """A dot for each name, and a line at the threshold if there is one."""
    low, high = min(rows.values(), default=0.0), max(rows.values(), default=1.0)
    if limit is not None:
        low, high = min(low, limit), max(high, limit)
    margin = (high - low) * 0.06 or 0.05
    low, high = low - margin, high + margin
    wide = WIDTH - NAMES - VALUES

    def place(value: float) -> float:
        return _at(NAMES + wide * (value - low) / (high - low))

    found, words, lines = [], [], []
    for row, (name, value) in enumerate(rows.items()):
        y = TOP + ROW * (row + 0.5)
        words += [
            Word(NAMES - 8, y + 4, shortened(name), "end"),
            Word(WIDTH - VALUES + 6, y + 4, say(value), "start"),
        ]
        lines.append((NAMES, y, WIDTH - VALUES, y))
        found.append(Dot(place(value), y, f"{name}: {say(value)}"))
    bottom = TOP + ROW * len(rows)
    if limit is not None:
        words.append(Word(place(limit), bottom + 12, f"threshold {limit:g}"))
    said = f"{title}: " + "; ".join(f"{name} {say(value)}" for name, value in rows.items())
    line = None if limit is None else (place(limit), TOP, place(limit), bottom)
    return Chart(title, said, bottom + BELOW, dots=tuple(found), words=tuple(words), lines=tuple(lines), limit=line)


def round_up(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50, … and 0.1, 0.2, 0.5, … that is not below `value`; 1 for nothing."""
    if value <= 0:
        return 1.0
    step = 1.0
    while step > value:
        step /= 10
    while step * 10 <= value:
        step *= 10
    return next(round(step * factor, 10) for factor in (1, 2, 5, 10) if step * factor >= value)


MOST_LETTERS = 15
"""Letters of a name that fit in front of a row."""


def shortened(name: str) -> str:
    """A name that fits in front of a row."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _summary(title: str, days: Sequence[str], totals: Sequence[float], say: Say) -> str:
    if not days:
        return f"{title}: nothing yet"
    return f"{title}, {days[0]} to {days[-1]}: from {say(min(totals))} to {say(max(totals))}, last {say(totals[-1])}"


def _at(value: float) -> float:
    """A place to a hundredth of a unit, so that pages are the same on every machine."""
    return round(value, 2)
