"""Which measured values are reported, what is usual, and whom to look at."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.domain.declared.alerts import (
    MIN_PAST_WINDOWS,
    THRESHOLDS,
    Alert,
    AlertThresholds,
    Measured,
    buckets_to_probe,
    changed_share,
    find_alerts,
    usual_share,
)
from updater.errors import ConfigError

LOOSE = AlertThresholds(
    max_hours_since_as_of=math.inf,
    max_days_since_last_event=math.inf,
    max_changed_share_factor=math.inf,
    max_rejected_share_window=1.0,
    min_day_cosine=-1.0,
    max_mean_shift=2.0,
    max_mismatch_share=1.0,
)


def is_exceeded(threshold: str, value: float, thresholds: AlertThresholds) -> bool:
    return bool(find_alerts(thresholds, [Measured(threshold, value, "here")]))


@pytest.mark.parametrize(
    ("threshold", "limit", "kept", "alerts"),
    [
        ("max_hours_since_as_of", 36, [-3, 0, 36], [36.01]),
        ("max_days_since_last_event", 3, [0, 3], [3.001]),
        ("max_changed_share_factor", 4, [1, 4, 0.25], [4.01, 0.24, 0]),
        ("max_rejected_share_window", 0.01, [0, 0.01], [0.011, 1]),
        ("min_day_cosine", 0.5, [0.5, 1], [0.499, -1]),
        ("max_mean_shift", 0.5, [0, 0.5], [0.51]),
        ("max_mismatch_share", 0, [0], [1e-9]),
    ],
)
def test_a_value_at_its_threshold_is_no_alert_and_one_beyond_is(
    threshold: str, limit: float, kept: list[float], alerts: list[float]
) -> None:
    thresholds = AlertThresholds(**{threshold: limit})
    assert [value for value in kept + alerts if is_exceeded(threshold, value, thresholds)] == alerts
    assert not [value for value in kept + alerts if is_exceeded(threshold, value, LOOSE)]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_not_a_number_exceeds_every_threshold(threshold: str) -> None:
    assert is_exceeded(threshold, math.nan, LOOSE)


def test_an_alert_names_threshold_limit_value_and_place() -> None:
    (found,) = find_alerts(
        AlertThresholds(),
        [Measured("max_days_since_last_event", 15.5, "bill"), Measured("max_mean_shift", 0.1, "lapse")],
    )
    assert found == Alert("max_days_since_last_event", 14.0, 15.5, "bill")
    assert str(found) == "bill: max_days_since_last_event is 14, the value 15.5"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_hours_since_as_of", -1),
        ("max_days_since_last_event", math.nan),
        ("max_changed_share_factor", 0.5),
        ("max_rejected_share_window", 1.5),
        ("min_day_cosine", 2),
        ("max_mean_shift", 2.1),
        ("max_mismatch_share", -0.1),
    ],
)
def test_a_senseless_threshold_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"alerts\.{name} is .*; use a number"):
        AlertThresholds(**{name: value})


@pytest.mark.parametrize(
    ("changed", "active", "share"), [(0, 0, 0.0), (0, 5, 0.0), (1, 4, 0.25), (3, 0, 1.0), (3, 2, 1.0)]
)
def test_share_of_changed_users(changed: int, active: int, share: float) -> None:
    assert changed_share(changed, active) == share


def test_what_is_usual_is_a_median_of_enough_windows() -> None:
    assert usual_share([0.2] * (MIN_PAST_WINDOWS - 1)) is None
    assert usual_share([0.2, 0.9, 0.3]) == 0.3
    assert usual_share([0.0, 0.0, 0.9]) is None


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 50), max_size=8), st.integers(1, 120), st.integers(0, 10**6))
def test_the_buckets_to_look_at_are_as_few_as_hold_enough_users(users: dict[int, int], wanted: int, turn: int) -> None:
    chosen = buckets_to_probe(users, wanted, turn)
    assert chosen == sorted(set(chosen))
    assert all(users[bucket] for bucket in chosen)
    held = sum(users[bucket] for bucket in chosen)
    assert held >= min(wanted, sum(users.values()))
    assert not chosen or held - max(users[bucket] for bucket in chosen) < wanted


def test_every_bucket_has_its_turn() -> None:
    assert [buckets_to_probe({0: 9, 2: 9, 5: 0, 7: 9}, 5, turn) for turn in range(4)] == [[0], [2], [7], [0]]
