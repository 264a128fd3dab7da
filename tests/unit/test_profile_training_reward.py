"""Rewards of a profile's updater, by hand; and what a reply is read as."""

import pytest

from updater.domain.declared.profile_training import ProfileTraining
from updater.profile.language_model.check import Candidate
from updater.profile.language_model.known import KnownFacet
from updater.training.profile.reading import going_on
from updater.training.profile.reward import (
    NextEvent,
    Reading,
    cumulative_rewards,
    immediate_reward,
    share_right,
)

OPTIONS = ProfileTraining(ungrounded_penalty=0.4, budget_penalty=0.2)
EVENTS = [
    NextEvent("item", "tea", "beer"),  # named, and beer is not: right
    NextEvent("item", "milk", "tea"),  # milk .3, tea .9: wrong
    NextEvent("item", "cake", "wine"),  # neither is named: half
    NextEvent("search", "tea", "beer"),  # named of another modality only: half
]
NAMED = {("item", "tea"): 0.9, ("item", "milk"): 0.3}


def reading(ungrounded: int = 0, tokens: int = 100) -> Reading:
    return Reading(NAMED, clauses=4, ungrounded=ungrounded, tokens=tokens)


def test_the_share_of_right_choices() -> None:
    assert share_right(NAMED, EVENTS) == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert share_right({}, EVENTS) == 0.5
    assert share_right(NAMED, []) == 0.5


@pytest.mark.parametrize(
    ("read", "worth"),
    [
        (reading(), 0.5),
        (None, 0.0),
        (reading(ungrounded=1), 0.5 - 0.4 / 4),
        (reading(ungrounded=4), 0.5 - 0.4),
        (reading(tokens=150), 0.5 - 0.2 * 0.25),  # a quarter over a budget of 120
        (reading(tokens=240), 0.5 - 0.2),
        (reading(tokens=999_999), 0.5 - 0.2),
        (reading(ungrounded=4, tokens=240), 0.0),  # .5 - .6, and never below nothing
    ],
)
def test_the_immediate_reward(read: Reading | None, worth: float) -> None:
    assert immediate_reward(read, EVENTS, OPTIONS, budget_tokens=120) == pytest.approx(worth)


def test_the_cumulative_reward_is_that_of_the_paper() -> None:
    # The carried one gets .9 times the mean of what followed, (.8 + .4 + .6 + 1) / 4 = .7; the others .9 times .5.
    rewards = cumulative_rewards([0.2, 0.6, 1.0, 0.0], carried=1, following=[0.8, 0.4, 0.6, 1.0])
    assert rewards == pytest.approx([0.2 + 0.45, 0.6 + 0.9 * 0.7, 1.0 + 0.45, 0.0 + 0.45])
    assert cumulative_rewards([0.6], carried=0, following=[0.0, 0.0]) == pytest.approx([0.6])


def facet(value: str, *, is_over: bool = False) -> KnownFacet:
    return KnownFacet(f"item.{value}", "item", "buys", value, 5, 4, 30, 50, 2, is_over, not is_over)


def test_what_a_text_calls_over_counts_nothing() -> None:
    assert going_on(Candidate('Buys: long-term "tea", "milk".', (facet("tea"), facet("milk")))) == {
        ("item", "tea"): pytest.approx(0.8),
        ("item", "milk"): pytest.approx(0.8),
    }
    over = facet("tea", is_over=True)
    assert going_on(Candidate('No longer "tea", but "milk".', (over, facet("milk")))).keys() == {("item", "milk")}
    assert going_on(Candidate('Stopped: "tea".', (over,))) == {}
    # What a value says is data, and not said of it.
    assert going_on(Candidate('Buys "no longer".', (facet("no longer", is_over=True),))).keys() == {
        ("item", "no longer")
    }
