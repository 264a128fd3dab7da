"""Foresight: a user worked out by hand, the plain computation beside the fast one, and what it must not depend on."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.profile_events import GOLDEN, NEWEST, Events, events, write
from updater.domain.declared.profile import ProfileChoice
from updater.profile.utility import named_values, score, wins


def test_a_user_worked_out_by_hand() -> None:
    user = {"item": events(milk=[0, 1, 10, 20], tea=[12, 13], cake=[30])}
    [profile] = write([user]).profiles
    # Day 0 brings milk. The text before it names milk (3 events) and tea (2), milk with the larger weights; cake, once,
    # is not named. So milk is right against tea's 2 and cake's 1: 3 of 3. Day 1 brings milk too. Before it milk is long
    # term with 2^(0/30) + 2^(-10/30) = 1.79 against tea's .95 + .93 = 1.89 of long-term weight; of the recent weight it
    # has 1 + .25 against .76 + .66: tea has more of both, so milk is right only against cake: 1 of 3.
    assert (profile.foresight, profile.questions) == (round((1 + 1 / 3) / 2, 4), 2)


def test_what_was_never_seen_is_foretold_by_nobody() -> None:
    [profile] = write([{"item": events(cake=[0], milk=[1, 2, 3], tea=[4])}]).profiles
    # Cake, new, loses against milk (3 of 4) and ties with tea, which is not named. Milk on day 1 and on day 2 wins
    # against tea, on day 3 there is nothing but tea, of which nothing is said: a half. Before day 4 there is nothing.
    assert profile.questions == 4
    assert profile.foresight == round((0.125 + 1 + 0.5 + 0.5) / 4, 4)


@pytest.mark.parametrize("user", [{"item": []}, {"item": events(tea=[0])}, {"item": events(tea=[0, 1, 2])}])
def test_nothing_can_be_asked_without_another_value(user: Events) -> None:
    [profile] = write([user]).profiles
    assert (profile.foresight, profile.questions) == (None, 0)


def test_the_calendar_and_what_only_lasts_do_not_count() -> None:
    later = {
        name: [(time and time + timedelta(days=365), value) for time, value in own] for name, own in GOLDEN.items()
    }
    stateless = {name: own for name, own in GOLDEN.items() if name != "app"}
    now, then = write([GOLDEN, later], states=["app"]).profiles
    [without] = write([stateless]).profiles
    assert now.foresight == then.foresight == without.foresight
    assert now.questions == then.questions == without.questions > 0


VALUES = st.sampled_from(["milk", "tea", "bread"])
TIMES = st.integers(0, 20 * 24).map(lambda hours: NEWEST - timedelta(hours=hours))
USERS = st.lists(
    st.dictionaries(st.sampled_from(["bill", "search"]), st.lists(st.tuples(TIMES, VALUES), max_size=14)),
    min_size=1,
    max_size=3,
)


@settings(max_examples=settings.default.max_examples // 2)
@given(USERS)
def test_it_is_what_the_plain_computation_gives(users: list[Events]) -> None:
    choice = ProfileChoice(min_long_share=0.2, budget_tokens=16)
    for profile, user in zip(write(users, choice).profiles, users, strict=True):
        assert (profile.foresight, profile.questions) == plainly(user, choice, list(dict.fromkeys(_names(users))))


def _names(users: list[Events]) -> list[str]:
    return [name for user in users for name in user]


def plainly(user: Events, choice: ProfileChoice, names: list[str]) -> tuple[float | None, int]:
    times = [time for own in user.values() for time, _ in own if time]
    shares = []
    for day in range(7) if times else ():
        ages = {name: [((max(times) - time).days, value) for time, value in user.get(name, ())] for name in names}  # type: ignore[operator]
        asked = {(name, value) for name, own in ages.items() for age, value in own if age == day}
        older = {
            name: [event for event in user.get(name, ()) if (max(times) - event[0]).days > day]  # type: ignore[operator]
            for name in names
        }
        made = write([older], choice)
        told = named_values(made.profiles[0], made.facets)
        for name, value in sorted(asked):
            others = Counter(other for _, other in older[name] if other != value)
            if others:
                won = sum(n * wins(score(told, name, value), score(told, name, other)) for other, n in others.items())
                shares.append(won / others.total())
    return (round(sum(shares) / len(shares), 4), len(shares)) if shares else (None, 0)
