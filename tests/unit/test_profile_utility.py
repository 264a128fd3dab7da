"""Forward utility: what a text says for a value, which value is rejected, and what answers are worth."""

import numpy as np
import pytest

from tests.profile_events import count, events, write
from updater.domain.declared.profile import ProfileChoice
from updater.pipeline.profile_neighbours import neighbours
from updater.profile.clustered import Share, discounted_share
from updater.profile.utility import named_values, rejected_value, score, wins


def test_a_text_says_nothing_for_what_is_over_or_not_named() -> None:
    choice = ProfileChoice(min_long_share=0.2, min_recent_share=0.2)
    user = {"item": events(beer=[31, 32, 33, 34, 35, 36], tea=[0, 1], cake=[0])}
    made = write([user], choice)
    told = named_values(made.profiles[0], made.facets)
    assert told.keys() == {("item", "tea")}
    assert score(told, "item", "beer") == score(told, "item", "cake") == score(told, "search", "tea") == 0
    # Long-term weights in days' powers of two: tea 1 + .977, beer 2.77 in all, cake 1; recent ones alike.
    long = [sum(2 ** (-age / 30) for age in ages) for ages in ([0, 1], range(31, 37), [0])]
    short = [sum(2 ** (-age / 5) for age in ages) for ages in ([0, 1], range(31, 37), [0])]
    assert score(told, "item", "tea") == pytest.approx(long[0] / sum(long) + short[0] / sum(short), abs=1e-6)


def test_the_rejected_value_is_another_one_drawn_by_popularity() -> None:
    popularity = np.array([6, 3, 0, 1])
    drawn = [rejected_value(popularity, 0, str(event)) for event in range(4000)]
    assert set(drawn) == {1, 3}
    assert drawn.count(1) / len(drawn) == pytest.approx(0.75, abs=0.03)
    assert drawn[:50] == [rejected_value(popularity, 0, str(event)) for event in range(50)]
    assert {rejected_value(popularity, -1, str(event)) for event in range(100)} == {0, 1, 3}
    assert rejected_value(np.array([4]), 0, "only one") is None
    assert rejected_value(np.array([], np.int64), -1, "none") is None


def test_what_answers_are_worth() -> None:
    assert [wins(2, 1), wins(1, 1), wins(0, 1)] == [1.0, 0.5, 0.0]


def test_days_are_discounted_and_a_user_is_one_draw() -> None:
    days = [np.array([1.0, 1.0]), np.array([0.5]), np.array([]), np.array([0.0])]
    found = discounted_share([["a", "b"], ["a"], [], ["b"]], days)
    # By hand: (1 + .9 * .5 + .81 * 0) / (1 + .9 + .81); a day's only answer is its mean, so nobody moves it.
    assert found == Share(round(1.45 / 2.71, 4), 0.0)
    assert discounted_share([["a"]], [np.array([1.0])]) == Share(1.0, None)
    assert discounted_share([[]], [np.array([])]) is None


def test_answers_of_one_user_count_as_one_when_it_comes_to_the_error() -> None:
    values = np.array([1.0, 0.0] * 8)
    apart = discounted_share([[str(n) for n in range(16)]], [values])
    together = discounted_share([["even", "odd"] * 8], [values])
    # 16 draws of standard deviation .516 and 2 of .707.
    assert apart == Share(0.5, round(np.sqrt(16 * 0.25 / 15) / 4, 4))
    assert together == Share(0.5, 0.5)


def test_values_of_those_nearby_are_likely() -> None:
    near = neighbours(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.0, 0.0]]))
    assert near.nearest_UK[0].tolist() == [1, 2, 3]
    assert near.nearest_UK.shape == (4, 3)
    counted = count([{"item": events(tea=[0])}, {"item": events(milk=[0, 1], tea=[2])}], "item")
    # Of two users each has the other: the first has a milk of two thirds coming, the second tea only.
    likely = neighbours(np.array([[1.0, 0.0], [0.9, 0.1]])).scores(counted)
    assert likely.tolist() == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]))
