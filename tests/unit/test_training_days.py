"""Which days training reads: anchors, splits, and what the config may not say."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from updater.domain.declared.training import Training, Tuning
from updater.errors import ConfigError, NotLandedError
from updater.training.build import BuildPlan, plan_build

FIRST, LAST = date(2024, 3, 1), date(2024, 4, 30)


def land(lake: str, modality: str, first: date = FIRST, last: date = LAST) -> None:
    """Days that count as landed, without rows."""
    for number in range((last - first).days + 1):
        day = Path(lake, modality, f"ds={first + timedelta(days=number)}")
        day.mkdir(parents=True)
        (day / "_SUCCESS").touch()


def plan(make_settings: Any, **training: Any) -> BuildPlan:
    """Of two months of streams and a buffer of ten days."""
    settings = make_settings(training={"anchor_every_days": 7, "future_days": 14, **training})
    if not Path(settings.paths.lake).exists():
        land(settings.paths.lake, "bill")
        land(settings.paths.lake, "search", FIRST + timedelta(days=2), LAST - timedelta(days=1))
    return plan_build(settings)


def test_anchors_have_a_future() -> None:
    options = Training(anchor_every_days=7, future_days=14)
    assert options.anchors(date(2024, 3, 1), date(2024, 3, 22)) == [date(2024, 3, 1), date(2024, 3, 8)]
    assert options.anchors(date(2024, 3, 1), date(2024, 3, 21)) == [date(2024, 3, 1)]
    assert options.anchors(date(2024, 3, 1), date(2024, 3, 14)) == []


def test_by_default_all_that_has_landed_trains(make_settings: Any) -> None:
    made = plan(make_settings)
    # Both streams have to be there; the first full buffer of ten days ends on the 12th.
    assert (made.first, made.last) == (date(2024, 3, 3), date(2024, 4, 29))
    assert made.anchors == tuple(date(2024, 3, 12) + timedelta(days=7 * n) for n in range(5))
    assert {made.split.of(anchor, 14) for anchor in made.anchors} == {"train"}


def test_nothing_after_until_is_read(make_settings: Any) -> None:
    made = plan(make_settings, until="2024-04-10", first_anchor="2024-03-20")
    assert made.last == date(2024, 4, 10)
    assert made.anchors == (date(2024, 3, 20), date(2024, 3, 27))


def test_futures_do_not_reach_into_the_next_split(make_settings: Any) -> None:
    made = plan(make_settings, valid_from="2024-03-26", test_from="2024-04-15")
    named = {anchor: made.split.of(anchor, 14) for anchor in made.anchors}
    # The futures of 12 and 19 March would end on the 26th and later; that of 2 April on the 16th.
    assert named == {date(2024, 3, 26): "valid"}
    made = plan(make_settings, valid_from="2024-03-27", test_from="2024-04-15")
    assert made.anchors[0] == date(2024, 3, 12)
    with pytest.raises(ConfigError, match="swap them"):
        plan(make_settings, valid_from="2024-04-16", test_from="2024-04-15")


def test_too_few_days_are_refused(make_settings: Any) -> None:
    with pytest.raises(NotLandedError, match="land more days"):
        plan(make_settings, future_days=50)
    with pytest.raises(NotLandedError, match="no landed day"):
        plan_build(make_settings("elsewhere"))


@pytest.mark.parametrize("name", ["anchor_every_days", "future_days", "steps", "users_per_step", "pairs_per_user"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{name} is 0"):
        Training(**{name: 0})


def test_users_that_cannot_be_shared_are_refused() -> None:
    assert Training(users_per_step=6, layers_users_per_step=3, processes=3)
    assert Training(objective="paper", users_per_step=6, processes=3)
    with pytest.raises(ConfigError, match="use a multiple"):
        Training(users_per_step=6, processes=4)


def test_tuning_needs_tokens_and_steps() -> None:
    for name in ("tokens", "steps", "users_per_step"):
        with pytest.raises(ConfigError, match=rf"tuning\.{name} is 0"):
            Tuning(**{name: 0})
