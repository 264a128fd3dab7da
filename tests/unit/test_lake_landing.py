"""From a landed partition to validated rows."""

import decimal
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from updater.domain.buckets import bucket_of
from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.errors import DataRefusedError
from updater.lake.landed_files import source_digest, source_etag
from updater.lake.landing import Landed, read_partition, text_id
from updater.lake.schemas import event_schema
from updater.settings import Limits

DAY = date(2024, 5, 1)
WINDOW = day_window(DAY, "UTC")
TIME = datetime(2024, 5, 1, 10, tzinfo=UTC)
BILL = Modality(name="bill", text="{category} at {merchant}", numeric=("amount",), category="category")


def read(directory: Path, modality: Modality = BILL, num_buckets: int = 4) -> Landed:
    return read_partition(str(directory), modality, WINDOW, Limits(), num_buckets, None)


def land(directory: Path, columns: dict[str, Any], name: str = "part-0.parquet") -> Path:
    rows = len(next(iter(columns.values())))
    keys = {"user_id": ["u"] * rows, "event_id": [f"e{n}" for n in range(rows)], "event_time": [TIME] * rows}
    directory.mkdir(exist_ok=True)
    pq.write_table(pa.table({**keys, **columns}), directory / name)
    return directory


def bills(**columns: Any) -> dict[str, Any]:
    rows = len(next(iter(columns.values()), [1]))
    return {"category": ["dairy"] * rows, "merchant": ["shop"] * rows, "amount": [1.0] * rows, **columns}


def test_rows_become_events_in_a_fixed_order(tmp_path: Path) -> None:
    users = ["b", "a", "a", "c"]
    times = [TIME, TIME, TIME - timedelta(hours=1), TIME]
    landed = read(land(tmp_path, bills(user_id=users, event_time=times, merchant=["x", None, "z", "x"])))
    events = landed.events
    assert events.schema == event_schema(BILL)
    rows = events.to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["bucket"], row["user_id"], row["event_time"], row["event_id"]))
    assert {row["user_id"]: row["bucket"] for row in rows} == {user: bucket_of(user, 4) for user in users}
    assert [row["text"] for row in rows if row["user_id"] == "a"] == ["dairy at z", "dairy at "]
    assert {row["ds"] for row in rows} == {DAY}
    assert all(row["text_id"] == text_id(row["text"]) for row in rows)
    assert (landed.num_rows, landed.rejected.num_rows) == (4, 0)


def test_the_last_row_of_an_event_stands_by_file_name_then_position(tmp_path: Path) -> None:
    land(tmp_path, bills(event_id=["e", "e"], amount=[3.0, 4.0]), "part-1.parquet")
    land(tmp_path, bills(event_id=["e", "f"], amount=[1.0, 2.0]), "part-0.parquet")
    events = read(tmp_path).events
    assert events.select(["event_id", "numeric_0"]).to_pylist() == [
        {"event_id": "e", "numeric_0": 4.0},
        {"event_id": "f", "numeric_0": 2.0},
    ]


@pytest.mark.parametrize(
    "time",
    [
        pa.scalar(TIME.replace(tzinfo=None), pa.timestamp("us")),
        pa.scalar(TIME, pa.timestamp("ms", "UTC")),
        pa.scalar(TIME, pa.timestamp("us", "Asia/Tokyo")),
        pa.scalar(TIME, pa.timestamp("ns", "+05:30")),
        pa.scalar("2024-05-01T12:00:00+02:00"),
        pa.scalar("2024-05-01 10:00:00", pa.large_string()),
        pa.scalar(b"2024-05-01T10:00:00Z"),
    ],
)
def test_every_way_to_write_an_instant(tmp_path: Path, time: pa.Scalar) -> None:
    events = read(land(tmp_path, bills(event_time=pa.array([time], time.type)))).events
    assert events["event_time"].to_pylist() == [TIME.replace(tzinfo=None)]


@pytest.mark.parametrize(
    ("value", "type_", "text", "number"),
    [
        (7, pa.int8(), "7", 7.0),
        (7, pa.uint64(), "7", 7.0),
        (1.5, pa.float32(), "1.5", 1.5),
        (1.5, pa.float16(), "1.5", 1.5),
        (True, pa.bool_(), "true", 1.0),
        (decimal.Decimal("1.25"), pa.decimal128(5, 2), "1.25", 1.25),
        ("2.5", pa.string(), "2.5", 2.5),
        ("2.5", pa.large_string(), "2.5", 2.5),
        ("2.5", pa.string_view(), "2.5", 2.5),
        (b"2.5", pa.binary(), "2.5", 2.5),
        (b"2.5", pa.large_binary(), "2.5", 2.5),
        ("2.5", pa.dictionary(pa.int32(), pa.string()), "2.5", 2.5),
        (None, pa.null(), "", None),
        (date(2024, 5, 1), pa.date32(), "2024-05-01", None),
        (TIME, pa.timestamp("us", "UTC"), "2024-05-01 10:00:00.000000Z", None),
        (b"2.5", pa.binary(3), "2.5", 2.5),
        (timedelta(1), pa.duration("s"), "86400", None),
        ([1], pa.list_(pa.int64()), None, None),
        ({"a": 1}, pa.struct([("a", pa.int64())]), None, None),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_every_type_is_read_or_refused_by_name(
    tmp_path: Path, value: Any, type_: pa.DataType, text: str | None, number: float | None
) -> None:
    column = pa.array([value], type_)
    in_text = Modality(name="m", text="{x}", category="x")
    as_number = Modality(name="m", numeric=("x",))
    land(tmp_path, {"x": column})
    if text is None:
        with pytest.raises(DataRefusedError, match="'x'"):
            read(tmp_path, in_text)
    else:
        events = read(tmp_path, in_text).events
        assert events.select(["text", "category"]).to_pylist() == [{"text": text, "category": text or None}]
    if number is None and not pa.types.is_null(type_):
        with pytest.raises(DataRefusedError, match="'x'"):
            read(tmp_path, as_number)
    else:
        assert read(tmp_path, as_number).events["numeric_0"].to_pylist() == [number]


@pytest.mark.parametrize(
    "name", ["deleted", "position", "bucket", "text", "text_id", "category", "reason", "numeric_0"]
)
def test_a_column_may_have_any_name_that_is_not_reserved(tmp_path: Path, name: str) -> None:
    modality = Modality(name="m", text="{" + name + "}!", category=name)
    events = read(land(tmp_path, {name: ["x", "y", "y"], "event_id": ["a", "b", "b"]}), modality).events
    assert events.select(["event_id", "text", "category", "deleted"]).to_pylist() == [
        {"event_id": "a", "text": "x!", "category": "x", "deleted": False},
        {"event_id": "b", "text": "y!", "category": "y", "deleted": False},
    ]
    as_number = Modality(name="m", numeric=(name,))
    land(tmp_path, {name: [1.0, 2.0, 3.0], "event_id": ["a", "b", "b"]})
    assert read(tmp_path, as_number).events["numeric_0"].to_pylist() == [1.0, 3.0]


def test_a_column_can_be_text_and_number_at_once(tmp_path: Path) -> None:
    modality = Modality(name="m", text="{{{x}}} of {x}", numeric=("x",), category="x")
    rows = read(land(tmp_path, {"x": [7, None]}), modality).events.to_pylist()
    assert [(row["text"], row["category"], row["numeric_0"]) for row in rows] == [
        ("{7} of 7", "7", 7.0),
        ("{} of ", None, None),
    ]


def test_a_deletion_only_needs_its_keys(tmp_path: Path) -> None:
    nothing = {"category": [None], "merchant": [None], "amount": [float("nan")], "op": ["delete"]}
    landed = read(land(tmp_path, nothing))
    assert landed.events["deleted"].to_pylist() == [True]
    assert landed.rejected.num_rows == 0


def test_of_several_reasons_the_first_is_given(tmp_path: Path) -> None:
    landed = read(land(tmp_path, bills(user_id=[""], event_id=["x" * 257], amount=[float("inf")])))
    assert landed.rejected["reason"].to_pylist() == ["user_id is empty"]


def test_a_rejected_row_does_not_replace_a_good_one(tmp_path: Path) -> None:
    landed = read(land(tmp_path, bills(event_id=["e", "e"], amount=[1.0, float("nan")])))
    assert landed.events["numeric_0"].to_pylist() == [1.0]


def test_a_local_day_of_23_hours_ends_at_local_midnight(tmp_path: Path) -> None:
    window = day_window(date(2024, 3, 31), "Europe/Berlin")
    ends = [window.end - timedelta(microseconds=1), window.end]
    land(tmp_path, bills(event_time=ends))
    landed = read_partition(str(tmp_path), BILL, window, Limits(), 1, None)
    assert (landed.events.num_rows, landed.rejected.num_rows) == (1, 1)


def test_a_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    land(tmp_path, bills())
    table = pq.ParquetFile(tmp_path / "part-0.parquet").read()
    pq.write_table(table.append_column("amount", table["amount"]), tmp_path / "part-0.parquet")
    with pytest.raises(DataRefusedError, match=r"part-0.parquet .*'amount'"):
        read(tmp_path)


def test_fingerprints_notice_a_rewritten_file(tmp_path: Path) -> None:
    directory = str(land(tmp_path, bills()))
    token, digest = source_etag(directory), source_digest(directory)
    assert source_etag(directory) == token
    assert read(tmp_path).digest == digest
    land(tmp_path, bills(amount=[2.0]))
    assert source_etag(directory) != token
    assert source_digest(directory) != digest
