"""Forward utility: what a text says for a value, which value is rejected, and what answers are worth."""

import numpy as np
import pytest

from tests.profile_events import events, write
from updater.domain.profile import ProfileChoice
from updater.profile.utility import discounted_mean, named_values, rejected_value, score, wins


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
    # By hand: (1 + .9 * .5 + .81 * 0) / (1 + .9 + .81).
    assert discounted_mean([1.0, 0.5, 0.0]) == pytest.approx(1.45 / 2.71)
