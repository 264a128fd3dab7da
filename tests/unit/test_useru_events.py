"""Windows of a user's events, and the guard between them."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.profiles import ANCHOR, event, future, profile
from updater.domain.buckets import bucket_of
from updater.lake.landing import text_id
from updater.lake.partitions import write_table
from updater.lake.schemas import event_schema
from updater.state.event_store import EventFile, connect
from updater.training.useru.facts.events import EventReader, refusal

START = date(2024, 5, 1)


def row(user: str, event_id: str, time: str, text: str = "milk", **fields: Any) -> dict[str, Any]:
    return {
        "user_id": user,
        "bucket": bucket_of(user, 1),
        "event_id": event_id,
        "event_time": datetime.fromisoformat(time),
        "deleted": False,
        "text": text,
        "text_id": text_id(text),
        "category": "dairy",
        "numeric_0": 1.0,
        **fields,
    }


@pytest.fixture
def reader(tmp_path: Path, make_settings):
    """Makes a reader of days that landed one after the other from START, in Berlin, with a buffer of three days."""
    settings = make_settings(buffer={"days": 3, "num_buckets": 1}, timezone="Europe/Berlin")

    def make(**landed: list[list[Any]]) -> EventReader:
        files: dict[str, list[EventFile]] = {}
        for name, days in landed.items():
            for number, rows in enumerate(days):
                ds = START + timedelta(days=number)
                path = str(tmp_path / name / f"{ds}.parquet")
                table = pa.Table.from_pylist(
                    [{**each, "ds": ds} for each in rows], event_schema(settings.modality(name))
                )
                write_table(path, table)
                files.setdefault(name, []).append(EventFile(ds, path))
        return EventReader(connect(), settings, files)

    return make


def seen(windowed: Any) -> list[tuple[str, str]]:
    return [(event.event_id, event.text) for event in windowed.events]


def test_windows_touch_at_the_local_midnight(reader):
    # Midnight in Berlin is 22:00 UTC in May.
    made = reader(bill=[[], [], [row("u", "last", "2024-05-03 21:59:59")], [row("u", "next", "2024-05-03 22:00:00")]])
    [profile] = made.profiles(date(2024, 5, 3), 0)
    following = made.futures(date(2024, 5, 3), 1, 0)["u"]
    assert seen(profile) == [("last", "milk")] and seen(following) == [("next", "milk")]
    assert profile.end == following.start and (following.end - following.start) == timedelta(days=1)
    assert profile.num_days == 3
    assert profile.events[0].day == date(2024, 5, 3) and following.events[0].day == date(2024, 5, 4)
    assert refusal(profile, following) is None


def test_a_profile_knows_only_what_had_landed(reader):
    made = reader(
        bill=[
            [row("u", "a", "2024-05-01 10:00", "milk"), row("u", "b", "2024-05-01 11:00"), row("v", "x", "2024-04-20")],
            [row("u", "a", "2024-05-01 10:00", "tea", category="drinks", numeric_0=None)],
            [row("u", "b", "2024-05-01 11:00", deleted=True), row("u", "late", "2024-05-01 09:00")],
        ]
    )
    assert [seen(profile) for profile in made.profiles(date(2024, 5, 1), 0)] == [[("a", "milk"), ("b", "milk")]]
    [second] = made.profiles(date(2024, 5, 2), 0)
    assert seen(second) == [("a", "tea"), ("b", "milk")]
    assert (second.events[0].category, second.events[0].numbers) == ("drinks", {})
    assert (second.events[1].category, second.events[1].numbers) == ("dairy", {"amount": 1.0})
    [third] = made.profiles(date(2024, 5, 3), 0)
    assert seen(third) == [("late", "milk"), ("a", "tea")]
    # What landed late is no future: it happened before the anchor's end.
    assert made.futures(date(2024, 5, 1), 2, 0) == {}
    assert all(refusal(profile) is None for profile in (second, third))


def test_a_snapshot_is_a_state_without_a_future(reader):
    made = reader(app=[[row("u", "a", "2020-01-01", "old")], [row("u", "b", "2020-01-01", "new")]])
    assert [seen(made.profiles(START + timedelta(days=n), 0)[0]) for n in range(2)] == [[("a", "old")], [("b", "new")]]
    assert made.profiles(START, 0)[0].events[0].is_state
    assert made.futures(START, 1, 0) == {}


def test_categories_by_frequency(reader):
    rows = [row("u", str(n), "2024-05-01 10:00", category=name) for n, name in enumerate(["a", "b", "b", None, ""])]
    made = reader(bill=[rows, [row("u", "9", "2024-05-02 10:00", category="later")]])
    assert made.categories(START) == [("bill", "b"), ("bill", "a")]


GOOD = profile([event(days_ago=1, event_id="a"), event("card", days_ago=500, is_state=True)])


@pytest.mark.parametrize(
    ("of", "then", "why"),
    [
        (GOOD, future([event(days_ago=-1, event_id="b")]), None),
        (GOOD, None, None),
        (replace(GOOD, end=GOOD.end + timedelta(seconds=1)), future(), "ends after the future begins"),
        (profile([event(days_ago=-1, landed=ANCHOR)]), None, "at or after its end"),
        (profile([event(landed=ANCHOR + timedelta(days=1))]), None, "landed after the anchor day"),
        (profile([event(days_ago=90)]), None, "before its start"),
        (GOOD, future([event(days_ago=0, event_id="b")]), "outside its window"),
        (GOOD, future([event(days_ago=-29, event_id="b")]), "outside its window"),
        (GOOD, future([event(days_ago=-1, event_id="a")]), "in the profile and in the future"),
    ],
)
def test_the_guard(of, then, why):
    reason = refusal(of, then)
    assert reason is None if why is None else why in reason
