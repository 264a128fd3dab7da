"""The throw-away feature store: joins as of an instant, in the order of the rows, and nothing left behind."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.factories import utc
from updater.store.scratch import Scratch

INSTANT = pa.timestamp("us", "UTC")
FIRST, SECOND = utc("2024-03-02"), utc("2024-03-05")


def rows(*pairs):
    users, instants = zip(*pairs, strict=True)
    return pa.table({"user_id": list(users), "event_timestamp": pa.array(list(instants), INSTANT)})


def known(user, instant, value):
    return rows((user, instant)).append_column("e", pa.array([value], pa.list_(pa.float32())))


@pytest.fixture
def scratch(make_settings):
    with Scratch(make_settings()) as scratch:
        yield scratch


def test_a_row_is_joined_to_what_was_known_at_its_instant(scratch):
    scratch.publish("view", [known("a", FIRST, [1.0]), known("b", FIRST, [2.0]), known("a", SECOND, [3.0])])
    asked = rows(
        ("b", SECOND),
        ("a", SECOND),
        ("a", SECOND - timedelta(microseconds=1)),
        ("nobody", SECOND),
        ("a", FIRST - timedelta(microseconds=1)),
        ("a", FIRST),
        ("b", SECOND),
    )

    joined = scratch.point_in_time(asked, ["view:e"])

    assert joined["user_id"].to_pylist() == asked["user_id"].to_pylist()
    assert joined["e"].to_pylist() == [[2.0], [3.0], [1.0], None, None, [1.0], [2.0]]


def test_with_a_lifetime_old_rows_do_not_count(scratch):
    scratch.publish("view", [known("a", FIRST, [1.0]), known("b", SECOND, [2.0])], lifetime=timedelta(hours=1))

    joined = scratch.point_in_time(rows(("a", SECOND), ("b", SECOND), ("a", FIRST)), ["view:e"])

    assert joined["e"].to_pylist() == [None, [2.0], [1.0]]


def test_rows_can_be_about_several_keys_and_users_are_data(scratch):
    hostile = "'; drop table x; --\n${HOME}"
    table = rows((hostile, FIRST), (hostile, SECOND)).append_column("anchor", pa.array(["1", "2"]))
    scratch.publish("labels", table.append_column("label", pa.array([True, False])), ("user_id", "anchor"))
    later = table.set_column(1, "event_timestamp", pa.array([SECOND] * 2, INSTANT))
    earlier = table.set_column(1, "event_timestamp", pa.array([FIRST] * 2, INSTANT))

    assert scratch.point_in_time(later, ["labels:label"])["label"].to_pylist() == [True, False]
    found = scratch.point_in_time(earlier, ["labels:label"])["label"]
    assert pc.is_null(found).to_pylist() == [False, True]


def test_nothing_is_left(make_settings):
    settings = make_settings()
    with pytest.raises(KeyError), Scratch(settings) as scratch:
        scratch.publish("view", [known("a", FIRST, [1.0])])
        assert scratch.directory.is_dir()
        raise KeyError
    assert not scratch.directory.exists()


def test_a_scratch_that_cannot_be_opened_leaves_no_directory(make_settings, monkeypatch):
    settings = make_settings()

    def fail(**_):
        raise RuntimeError("Feast does not want to")

    monkeypatch.setattr("updater.store.scratch.FeatureStore", fail)
    with pytest.raises(RuntimeError, match="does not want to"):
        Scratch(settings)
    assert list(Path(settings.paths.state, "evaluation").iterdir()) == []
