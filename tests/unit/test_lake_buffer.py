"""The rolling buffer: what it holds, and what changes it."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.lake.landing import text_id
from updater.lake.partitions import write_table
from updater.lake.schemas import event_schema
from updater.state.event_store import Buffer, EventFile, connect

STREAM = Modality(name="bill", text="{word}", numeric=("amount",))
SNAPSHOT = Modality(name="app", kind="snapshot", text="{word}", numeric=("amount",))
START = date(2024, 5, 1)
DAYS = 3


def at(day: float) -> datetime:
    return datetime(2024, 5, 1) + timedelta(days=day)


def event(user: str, event_id: str, time: float, text: str = "milk", amount: float = 1.0, deleted: bool = False) -> Any:
    return {
        "user_id": user,
        "bucket": 0,
        "event_id": event_id,
        "event_time": at(time),
        "deleted": deleted,
        "text": text,
        "text_id": text_id(text),
        "numeric_0": amount,
    }


def buffer(root: Path, modality: Modality, *landed: list[Any]) -> Buffer:
    """The buffer of days that landed one after the other from START."""
    files = []
    for number, rows in enumerate(landed):
        if rows:
            ds = START + timedelta(days=number)
            files.append(EventFile(ds, str(root / f"{ds}.parquet")))
            table = pa.Table.from_pylist([{**row, "ds": ds} for row in rows], event_schema(modality))
            write_table(files[-1].path, table)
    return Buffer(connect(), modality, files, DAYS, "UTC")


def held(of: Buffer, day: int) -> list[tuple[str, str]]:
    content = of.content(day_window(START + timedelta(days=day), "UTC"))
    return list(zip(content["user_id"].to_pylist(), content["event_id"].to_pylist(), strict=True))


def changes(of: Buffer, day: int) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in of.changes(day_window(START + timedelta(days=day), "UTC")).to_pylist():
        found.setdefault(row["user_id"], {})[row["reason"]] = row["num_events"]
    return found


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ([event("u", "a", 0.5)], {}),
        ([event("u", "a", 0.5, amount=2.0)], {"replaced": 1}),
        ([event("u", "a", 0.5, text="tea")], {"replaced": 1}),
        ([event("u", "a", 0.25)], {"replaced": 1}),
        ([event("u", "a", -9)], {"replaced": 1}),
        ([event("u", "a", 0.5, deleted=True)], {"deleted": 1}),
        ([event("u", "b", 1.5)], {"new": 1}),
        ([event("u", "b", 0.5), event("u", "c", 1.0)], {"late": 1, "new": 1}),
        ([event("u", "b", -1.0)], {"late": 1}),
        ([event("u", "b", -1.00001)], {}),
        ([event("u", "b", 1.5, deleted=True)], {}),
    ],
)
def test_why_a_stream_changes(tmp_path: Path, second: list[Any], reason: dict[str, int]) -> None:
    made = buffer(tmp_path, STREAM, [event("u", "a", 0.5), event("v", "a", 0.5)], second)
    assert changes(made, 1) == ({"u": reason} if reason else {})


def test_a_stream_expires_by_event_time(tmp_path: Path) -> None:
    made = buffer(tmp_path, STREAM, [event("u", "a", 0.0), event("u", "b", 0.999), event("v", "a", -1.0)], [], [], [])
    assert [held(made, day) for day in range(4)] == [
        [("u", "a"), ("u", "b"), ("v", "a")],
        [("u", "a"), ("u", "b"), ("v", "a")],
        [("u", "a"), ("u", "b")],
        [],
    ]
    assert [changes(made, day) for day in (1, 2, 3, 4)] == [{}, {"v": {"expired": 1}}, {"u": {"expired": 2}}, {}]


def test_a_day_is_read_as_it_was_known_then(tmp_path: Path) -> None:
    made = buffer(
        tmp_path, STREAM, [event("u", "a", 0.5)], [event("u", "a", 0.5, deleted=True)], [event("u", "a", 0.5)]
    )
    assert [held(made, day) for day in range(3)] == [[("u", "a")], [], [("u", "a")]]
    assert [changes(made, day) for day in (1, 2)] == [{"u": {"deleted": 1}}, {"u": {"late": 1}}]


def test_an_event_that_is_replaced_as_it_expires_is_no_longer_held(tmp_path: Path) -> None:
    made = buffer(tmp_path, STREAM, [event("u", "a", 0.5)], [], [], [event("u", "a", 0.5, amount=5.0)])
    assert changes(made, 3) == {"u": {"replaced": 1}}
    assert held(made, 3) == []


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ([event("u", "b", 1.5), event("u", "a", 1.0)], {}),
        ([event("u", "a", 0.5)], {"deleted": 1}),
        ([event("u", "a", 0.5), event("u", "b", 0.5, amount=2.0)], {"replaced": 1}),
        ([event("u", "a", 0.5), event("u", "b", 0.5), event("u", "c", -9)], {"new": 1}),
        ([event("u", "a", 0.5, deleted=True)], {"deleted": 2}),
        ([], {}),
    ],
)
def test_why_a_snapshot_changes(tmp_path: Path, second: list[Any], reason: dict[str, int]) -> None:
    first = [event("u", "a", 0.25), event("u", "b", 0.5), event("v", "a", 0.5)]
    made = buffer(tmp_path, SNAPSHOT, first, second)
    assert changes(made, 1) == ({"u": reason} if reason else {})


def test_a_snapshot_stays_until_it_is_replaced(tmp_path: Path) -> None:
    made = buffer(tmp_path, SNAPSHOT, [event("u", "b", 0), event("u", "a", 0.5)], *([[]] * 8), [event("u", "c", -99)])
    assert held(made, 8) == [("u", "a"), ("u", "b")]
    assert held(made, 9) == [("u", "c")]


def test_reading_some_users_or_a_bucket(tmp_path: Path) -> None:
    rows = [event("u", "a", 0.5), event("v", "a", 0.5), {**event("w", "a", 0.5), "bucket": 1}]
    made, window = buffer(tmp_path, STREAM, rows), day_window(START, "UTC")
    wanted = pa.table({"user_id": ["v", "w", "nobody"]})
    assert made.content(window, wanted)["user_id"].to_pylist() == ["v", "w"]
    assert made.content(window, wanted, buckets=[1])["user_id"].to_pylist() == ["w"]
    assert made.content(window, buckets=[0])["user_id"].to_pylist() == ["u", "v"]
    assert made.content(window, wanted.slice(0, 0)).num_rows == 0
    assert made.everyone(window)["user_id"].to_pylist() == ["u", "v", "w"]
    assert made.everyone(window, [1])["user_id"].to_pylist() == ["w"]
    assert made.changes(window, [1])["user_id"].to_pylist() == ["w"]


def test_buckets_with_a_gap_are_read_without_what_lies_between(tmp_path: Path) -> None:
    rows = [{**event(f"u{number}", "a", 0.5), "bucket": number} for number in range(6)]
    made, window = buffer(tmp_path, STREAM, rows), day_window(START, "UTC")
    assert made.content(window, buckets=[4, 1])["user_id"].to_pylist() == ["u1", "u4"]
    assert made.content(window, buckets=[3, 2, 4])["user_id"].to_pylist() == ["u2", "u3", "u4"]


@pytest.mark.parametrize("name", ["it's {x}", "ds=1", "a b"])
def test_a_state_directory_may_have_an_odd_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    assert held(buffer(root, STREAM, [event("u", "a", 0.5)]), 0) == [("u", "a")]


def test_ties_are_ordered_by_id_and_ids_by_their_bytes(tmp_path: Path) -> None:
    ids = ["b", "a", "B", "é", "\U0001f600", "ﬀ"]
    made = buffer(tmp_path, STREAM, [event("u", name, 0.5) for name in ids])
    assert [event_id for _, event_id in held(made, 0)] == sorted(ids)
