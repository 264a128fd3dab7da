"""Dots with intervals: everything lies within the picture, and the axis has round numbers."""

from itertools import pairwise

import pytest

from updater.evaluation.charts import MOST_LETTERS, WIDTH, Chart, dot_chart

NAMES = ("published", "a name that is much longer than what fits in front of a row", "b")


def shares(*values: float) -> Chart:
    return dot_chart(
        {str(n): {"": (value, value - 0.01, value + 0.01)} for n, value in enumerate(values)}, percent=True
    )


def test_everything_lies_within_the_picture() -> None:
    rows = {name: {"one": (0.2, 0.1, 0.3), "two": (0.9, 0.8, 1.0)} for name in NAMES}
    chart = dot_chart(rows, percent=True)
    assert all(chart.label_x < dot.low <= dot.x <= dot.high < WIDTH and dot.y < chart.bottom for dot in chart.dots)
    assert all(chart.label_x < x < WIDTH for _, x in chart.ticks)
    assert [len(label) for label, _ in chart.labels] == [9, MOST_LETTERS, 1]
    assert chart.legend == (("one", 0), ("two", 1))
    assert chart.dots[2].said == f"{NAMES[1]} one: 20.0 %"


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.395, 0.727), ["40 %", "50 %", "60 %", "70 %"]),
        ((0.2, 0.99), ["20 %", "40 %", "60 %", "80 %", "100 %"]),
        ((0.501, 0.504), ["49.5 %", "50 %", "50.5 %", "51 %"]),
    ],
)
def test_the_axis_has_round_numbers(values: tuple[float, ...], ticks: list[str]) -> None:
    assert [text.replace(".0 %", " %") for text, _ in shares(*values).ticks] == ticks


def test_numbers_on_the_axis_do_not_touch() -> None:
    rows = {name: {"": (value, value - 0.005, value)} for name, value in zip(NAMES, (-0.035, 0.0, 0.015), strict=True)}
    places = [x for _, x in dot_chart(rows).ticks]
    assert min(b - a for a, b in pairwise(places)) > 40


def test_differences_lie_around_nothing() -> None:
    chart = dot_chart({"less": {"": (-0.032, -0.038, -0.026)}, "more": {"": (0.011, 0.007, 0.015)}})
    assert [text for text, _ in chart.ticks] == ["−0.04", "−0.03", "−0.02", "−0.01", "0.00", "0.01"]
    assert chart.zero == dict(chart.ticks)["0.00"]
    assert chart.dots[0].said == "less: −0.0320"


def test_what_is_not_known_is_left_out() -> None:
    chart = dot_chart({"known": {"": (0.5, None, None)}, "unknown": {"": (None, None, None)}})
    assert [(dot.low, dot.high) for dot in chart.dots] == [(chart.dots[0].x, chart.dots[0].x)]
    assert dot_chart({}).dots == ()
