"""Words and decisions of the domain: windows, buckets, fingerprints, declarations, column names."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import utc
from updater.domain import columns
from updater.domain.buckets import bucket_of, is_held_out, runs
from updater.domain.declared.modality import Modality
from updater.domain.declared.scenario import Scenario
from updater.domain.fingerprint import fingerprint
from updater.domain.window import Window, buffer_start, day_that_ends, day_window, days, first_buffer_day, start_of_day
from updater.errors import ConfigError, NotLandedError, ServiceUnavailableError

ZONES = ["UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "America/Sao_Paulo", "America/Havana"]


@pytest.mark.parametrize(
    ("zone", "ds", "start", "hours"),
    [
        ("UTC", "2024-03-10", "2024-03-10 00:00:00", 24),
        ("America/New_York", "2024-03-10", "2024-03-10 05:00:00", 23),
        ("America/New_York", "2024-11-03", "2024-11-03 04:00:00", 25),
        ("Europe/London", "2024-03-31", "2024-03-31 00:00:00", 23),
        ("Europe/London", "2024-10-27", "2024-10-26 23:00:00", 25),
        ("Australia/Lord_Howe", "2024-04-07", "2024-04-06 13:00:00", 24.5),
        ("Australia/Lord_Howe", "2024-10-06", "2024-10-05 13:30:00", 23.5),
        pytest.param("America/Sao_Paulo", "2018-11-04", "2018-11-04 03:00:00", 23, id="no midnight"),
        pytest.param("America/Sao_Paulo", "2018-11-03", "2018-11-03 03:00:00", 24, id="the day before no midnight"),
        pytest.param("America/Havana", "2024-11-03", "2024-11-03 04:00:00", 25, id="two midnights"),
        pytest.param("America/Havana", "2024-11-02", "2024-11-02 04:00:00", 24, id="the day before two midnights"),
    ],
)
def test_a_day_is_as_long_as_its_clocks_say(zone, ds, start, hours):
    window = day_window(date.fromisoformat(ds), zone)
    assert window.start == utc(start)
    assert window.end - window.start == timedelta(hours=hours)
    assert window.as_of == window.end
    assert str(window) == ds


@given(zone=st.sampled_from(ZONES), ds=st.dates(date(1990, 1, 1), date(2035, 1, 1)))
def test_days_tile_time_and_hold_exactly_their_local_day(zone, ds):
    window = day_window(ds, zone)
    assert window.start.tzinfo is UTC
    assert window.end == day_window(ds + timedelta(days=1), zone).start
    assert day_that_ends(window.as_of, zone) == ds
    tick = timedelta(microseconds=1)
    local = [
        instant.astimezone(ZoneInfo(zone)).date() for instant in (window.start - tick, window.start, window.end - tick)
    ]
    assert local == [ds - timedelta(days=1), ds, ds]


def test_windows_order_by_day():
    first, second = (day_window(date(2024, 1, day), "UTC") for day in (1, 2))
    assert first < second
    assert first == Window(date(2024, 1, 1), utc("2024-01-01"), utc("2024-01-02"))


def test_the_buffer_counts_local_days_not_hours():
    window = day_window(date(2024, 3, 10), "America/New_York")
    assert first_buffer_day(window.ds, 1) == window.ds
    assert buffer_start(window, 1, "America/New_York") == window.start
    assert first_buffer_day(window.ds, 90) == date(2023, 12, 12)
    # Two days, of which the second has 23 hours.
    assert window.as_of - buffer_start(window, 2, "America/New_York") == timedelta(hours=47)
    assert buffer_start(window, 90, "America/New_York") == start_of_day(date(2023, 12, 12), "America/New_York")


def test_days_are_inclusive_and_oldest_first():
    assert list(days(date(2024, 2, 28), date(2024, 3, 1))) == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert list(days(date(2024, 1, 1), date(2024, 1, 1))) == [date(2024, 1, 1)]
    assert list(days(date(2024, 1, 2), date(2024, 1, 1))) == []


def test_buckets_never_change():
    frozen = {"": 960, "u1": 160, "u2": 70, "user-000042": 231, "Ωmega": 1007, "日本": 49}
    assert {user: bucket_of(user, 1009) for user in frozen} == frozen


@given(st.text(alphabet=st.characters(codec="utf-8")), st.integers(1, 1000))
def test_a_bucket_is_below_their_number(user_id, num_buckets):
    assert 0 <= bucket_of(user_id, num_buckets) < num_buckets


def test_buckets_are_even():
    counts = [0] * 16
    for number in range(16_000):
        counts[bucket_of(f"user-{number}", 16)] += 1
    assert 850 < min(counts) <= max(counts) < 1150


@pytest.mark.parametrize(
    ("parts", "digest"),
    [
        (
            ("bill", 1, 1.5, None, True, ["a", "Ω"], {"b": 2, "a": 1}, date(2024, 1, 2)),
            "f0e5c816df5248399f33e1ebd5e8eed8adb25b1bad9231c403d302eda58a8204",
        ),
        ((date(2024, 2, 29), None), "79cf8068585340dfc8c383b368acd1bfe3bef17dbb64b37147424ebb38d5d2e9"),
        (
            ({"split": {"from": date(2024, 1, 1), "until": None}}, [datetime(2024, 1, 1, 12, tzinfo=UTC)]),
            "f1744330ce099419e93710e6cbfb757944c2bd27e306c77149f706c21e4aec8b",
        ),
        (
            ("bill", "stream", "{category} at {merchant}", ("amount",), "category"),
            "2073f856e1a628c0b1614616b26a6d16d97f46ffadcdbaa0200d2edf182485ab",
        ),
    ],
)
def test_fingerprints_never_change(parts, digest):
    assert fingerprint(*parts) == digest


@pytest.mark.parametrize(
    "part", [{"a", "b"}, frozenset(), object(), Path("a"), b"a", np.int64(1), [{"a": {1}}], Fraction(1)]
)
def test_what_has_no_bytes_of_its_own_is_refused(part):
    with pytest.raises(TypeError, match=r"no fingerprint of a \w+"):
        fingerprint("bill", part)


def test_fingerprints_see_values_and_structure_not_key_order():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(("a", "b")) == fingerprint(["a", "b"])
    different = [("a", "b"), ("b", "a"), ("ab",), (["a", "b"],), ("a", "b", None), ("a", ["b"]), (1,), ("1",), (1.0,)]
    assert len({fingerprint(*parts) for parts in different}) == len(different)


@pytest.mark.parametrize("num_buckets", [5, 16, 20, 25])
def test_every_bucket_has_its_share_of_the_held_out_users(num_buckets):
    held_out = [[] for _ in range(num_buckets)]
    for number in range(num_buckets * 400):
        user = f"user-{number}"
        held_out[bucket_of(user, num_buckets)].append(is_held_out(user))
    assert all(0.1 < sum(bucket) / len(bucket) < 0.3 for bucket in held_out)


def test_held_out_users_never_change():
    assert [number for number in range(30) if is_held_out(str(number))] == [2, 10, 11, 18, 21]


def test_fingerprints_and_buckets_do_not_depend_on_the_process():
    code = (
        "from updater.domain.buckets import bucket_of; from updater.domain.fingerprint import fingerprint;"
        "print(bucket_of('u1', 1009), fingerprint('u1', {'b': 2, 'a': 1}))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{bucket_of('u1', 1009)} {fingerprint('u1', {'a': 1, 'b': 2})}\n"}


def test_a_modality_names_its_columns_once():
    modality = Modality(
        name="bill", text="{shop} {kind} {hour:.0f} {shop} {{no}}", numeric=("amount", "hour"), category="kind"
    )
    assert modality.text_columns == ("shop", "kind", "hour")
    assert modality.rounded_columns == (("hour", ".0f"),)
    assert modality.columns == ("shop", "kind", "hour", "amount")
    assert Modality(name="amounts", numeric=("amount",)).text_columns == ()


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"name": "Bill", "text": "{a}"}, "lower-case"),
        ({"name": "1bill", "text": "{a}"}, "lower-case"),
        ({"name": "b" * 64, "text": "{a}"}, "at most 63"),
        ({"name": "bill\n", "text": "{a}"}, "lower-case"),
        ({"name": "bill", "text": "{a}", "kind": "table"}, "use 'stream' or 'snapshot'"),
        ({"name": "bill", "text": "{a}", "max_events": -1}, "max_events is -1"),
        ({"name": "bill"}, "neither text nor numeric"),
        ({"name": "bill", "text": "{a"}, "malformed"),
        ({"name": "bill", "text": "{}"}, "not a plain column name"),
        ({"name": "bill", "text": "{a.b}"}, "not a plain column name"),
        ({"name": "bill", "text": "{a[0]}"}, "not a plain column name"),
        ({"name": "bill", "text": "{a!r}"}, r"\{a!r\} has a conversion"),
        ({"name": "bill", "text": "{a:>9}"}, r"\{a:>9\} has a format"),
        ({"name": "bill", "text": "{a:d}"}, "has a format"),
        ({"name": "bill", "text": "{a:.999f}"}, "has a format"),
        ({"name": "bill", "text": "{a:{b}}"}, "has a format"),
        ({"name": "bill", "text": "{a:%Y-%m}"}, "has a format"),
        ({"name": "bill", "text": "{user_id}"}, "reserved column 'user_id'"),
        ({"name": "bill", "numeric": ("event_time",)}, "reserved column 'event_time'"),
        ({"name": "bill", "text": "{a}", "category": "op"}, "reserved column 'op'"),
        ({"name": "bill", "numeric": ("amount", "amount")}, "numeric column twice"),
    ],
)
def test_a_modality_that_cannot_work_is_refused(declaration, message):
    with pytest.raises(ConfigError, match=message):
        Modality(**declaration)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"name": "a b"}, "name 'a b'"), ({"domain": "Risk"}, "domain 'Risk'"), ({"query": " \n"}, "empty query")],
)
def test_a_scenario_that_cannot_work_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        Scenario(**({"name": "lapse", "domain": "risk", "query": "Will this user leave?"} | change))


def test_published_names_never_change():
    assert columns.scenario_view("lapse", 1) == "lapse_v1"
    assert columns.domain_service("risk", 12) == "risk_v12"
    features = [columns.embedding, columns.as_of, columns.computed_at, columns.model_version]
    assert [feature("lapse") for feature in features] == [
        "lapse_embedding",
        "lapse_as_of",
        "lapse_computed_at",
        "lapse_model_version",
    ]
    assert [columns.num_events("bill"), columns.last_event_at("bill")] == ["bill_num_events", "bill_last_event_at"]
    assert columns.JOIN_KEY == "user_id"


@pytest.mark.parametrize("error", [NotLandedError, ServiceUnavailableError])
def test_errors_of_the_operating_system_kind_still_print_one_sentence(error):
    assert str(error("bill of 2024-01-02 has not landed.")) == "bill of 2024-01-02 has not landed."


def test_utc_of_the_factories_is_aware():
    assert utc("2024-01-02 03:04:05") == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.integers(1, 6))
def test_buckets_are_dealt_out_in_runs_whose_largest_is_as_small_as_can_be(loads: list[int], num_runs: int) -> None:
    found = runs(loads, num_runs)
    assert [bucket for run in found for bucket in run] == list(range(len(loads)))
    assert all(found) and len(found) <= num_runs

    def least(start: int, left: int) -> float:
        """The smallest largest run of the buckets from `start` on, by trying every first run."""
        if start == len(loads):
            return 0
        if not left:
            return float("inf")
        ends = range(start + 1, len(loads) + 1)
        return min(max(sum(loads[start:end]) + end - start, least(end, left - 1)) for end in ends)

    assert max(sum(loads[bucket] + 1 for bucket in run) for run in found) == least(0, num_runs)
