"""Single questions about the future: what is asked, of whom, and the counted answers."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.profiles import ANCHOR, MODALITIES, SHOPPER, event, future
from updater.training.useru.facts.focus import (
    AMOUNTS_PER_ANCHOR,
    CATEGORIES_PER_ANCHOR,
    COUNT,
    Focus,
    changed,
    rounded_amount,
    rounded_count,
    shared_questions,
)

COMMON = [("bill", f"kind {number}") for number in range(200)]
FUTURE = future(
    [
        event(days_ago=-1, category="dairy", amount=8),
        event(days_ago=-7, category="dairy", amount=2.5),
        event(days_ago=-8, category="fuel", amount=9.5, hour=0),
        event("page_view", days_ago=-8),
        event("page_view", days_ago=-8, hour=13),
        event("page_view", days_ago=-28, hour=23),
    ]
)


def bounds(text: str) -> tuple[int, int]:
    low, high = text.split(" to ")
    return int(low), int(high)


@pytest.mark.parametrize(
    ("count", "said"), [(0, "no"), (1, "1"), (2, "2"), (3, "3 to 5"), (5, "3 to 5"), (6, "6 to 11"), (12, "12 to 23")]
)
def test_counts_in_words(count: int, said: str) -> None:
    assert rounded_count(count) == said


@given(st.integers(3, 10**9))
def test_a_count_lies_in_its_range_and_the_next_range_follows(count: int) -> None:
    low, high = bounds(rounded_count(count))
    assert low <= count <= high == 2 * low - 1
    assert rounded_count(low) == rounded_count(high) != rounded_count(high + 1)
    assert bounds(rounded_count(high + 1))[0] == high + 1


@pytest.mark.parametrize(
    ("amount", "said"), [(-3.0, "less than 1"), (0.0, "less than 1"), (0.99, "less than 1"), (1.0, "1 to 2")]
)
def test_small_amounts_in_words(amount: float, said: str) -> None:
    assert rounded_amount(amount) == said


@given(st.floats(1, 1e12))
def test_an_amount_lies_in_its_range(amount: float) -> None:
    low, high = bounds(rounded_amount(amount))
    assert low <= amount < high == 2 * low


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (4, 0, "none at all"),
        (0, 0, "none at all"),
        (0, 3, "begins"),
        (10, 4.9, "less than half"),
        (10, 5, "less"),
        (10, 8, "about the same"),
        (10, 12.4, "about the same"),
        (10, 12.5, "more"),
        (10, 15, "more than half as much again"),
    ],
)
def test_changes_in_words(before: float, after: float, said: str) -> None:
    assert changed(before, after) == said


@pytest.mark.parametrize(
    ("focus", "question", "answer"),
    [
        (Focus("events", "bill"), "bill events in the next 28 days?", "3 to 5 bill events."),
        # Day 8 is the first of the second week.
        (Focus("events", "bill", days=7), "bill events in the next 7 days?", "2 bill events."),
        (Focus("events", "bill", "dairy"), "dairy bill events in the next 28 days?", "2 dairy bill events."),
        (Focus("events", "bill", "wine"), "wine bill events in the next 28 days?", "no wine bill events."),
        (
            Focus("days", "page_view"),
            "Days with page view events in the next 28 days?",
            "page view events on 2 days.",
        ),
        (
            Focus("total", "bill", column="amount"),
            "amount of bill events in the next 28 days?",
            "amount of bill events: 16 to 32.",
        ),
        (Focus("kinds", "bill"), "Kinds of bill events in the next 28 days?", "2 kinds of bill events."),
        # The profile knows dairy.
        (Focus("new_kinds", "bill"), "New kinds of bill events in the next 28 days?", "1 new kinds of bill events."),
        # 64 in 90 days are 19.9 in 28.
        (
            Focus("change", "bill", column="amount"),
            "Change of amount of bill events in the next 28 days?",
            "amount of bill events: about the same.",
        ),
        # 5 in 90 days are 1.6 in 28.
        (
            Focus("change", "bill", column=COUNT),
            "Change of number of bill events in the next 28 days?",
            "number of bill events: more than half as much again.",
        ),
    ],
)
def test_answers_are_counted(focus: Focus, question: str, answer: str) -> None:
    assert focus.question == question
    assert focus.answer(SHOPPER, FUTURE) == answer


def test_nothing_happens() -> None:
    assert Focus("events", "bill", days=7).answer(SHOPPER, future()) == "no bill events."
    assert Focus("change", "bill", column=COUNT).answer(SHOPPER, future()) == "number of bill events: none at all."
    newcomer = replace(SHOPPER, events=())
    assert Focus("change", "bill", column=COUNT).answer(newcomer, FUTURE) == "number of bill events: begins."


def test_an_anchor_day_asks_the_same_of_everybody_and_another_day_something_else() -> None:
    asked = shared_questions(MODALITIES, COMMON, (), 28, ANCHOR)
    assert asked == shared_questions(MODALITIES, COMMON, (), 28, ANCHOR)
    assert len({focus.name for focus in asked}) == len({focus.question for focus in asked}) == len(asked)
    kinds = [focus for focus in asked if focus.category]
    assert len(kinds) == CATEGORIES_PER_ANCHOR
    frequent = {category for _, category in COMMON[: len(COMMON) // 4]}
    assert sum(focus.category in frequent for focus in kinds) == CATEGORIES_PER_ANCHOR // 2
    assert {focus.days for focus in kinds} == {7, 28}
    amounts = [focus for focus in asked if not focus.category]
    assert 0 < len(amounts) <= AMOUNTS_PER_ANCHOR
    # A snapshot has no future.
    assert {focus.modality for focus in asked} == {"bill", "page_view"}
    assert not [focus for focus in amounts if focus.modality == "page_view" and "kinds" in focus.measure]
    later = shared_questions(MODALITIES, COMMON, (), 28, ANCHOR + timedelta(days=14))
    assert {focus.category for focus in later} != {focus.category for focus in asked}


@given(st.sets(st.sampled_from(COMMON)), st.integers(0, 400))
def test_what_is_held_back_is_never_asked(never: set[tuple[str, str]], day: int) -> None:
    asked = shared_questions(MODALITIES, COMMON, never, 28, ANCHOR + timedelta(days=day))
    assert not {(focus.modality, focus.category) for focus in asked} & never


def test_few_categories_are_all_asked_about_and_a_short_future_is_not_overrun() -> None:
    asked = shared_questions(MODALITIES, COMMON[:3], (), 5, ANCHOR)
    assert {focus.category for focus in asked if focus.category} == {"kind 0", "kind 1", "kind 2"}
    assert {focus.days for focus in asked} == {5}
    assert shared_questions(MODALITIES[2:], (), (), 28, ANCHOR) == []
