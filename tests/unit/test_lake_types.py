"""Columns as other programs write them: a bad row or an odd type never stops the good rows."""

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.errors import DataRefusedError
from updater.lake.landing import Landed, read_partition
from updater.lake.pseudonyms import Pseudonyms
from updater.settings import Limits

WINDOW = day_window(date(2024, 5, 1), "UTC")
TIME = datetime(2024, 5, 1, 10)
WORDS = Modality(name="m", text="{x}", category="x")
NUMBERS = Modality(name="m", numeric=("x",))
ID = UUID("0b1d3f5a-0000-4000-8000-00000000000a")


def land(directory: Path, columns: dict[str, Any], modality: Modality = WORDS, **options: Any) -> Landed:
    """Land columns beside keys that are made up where they are left out, and read them."""
    num_rows = len(next(iter(columns.values())))
    keys = {
        "user_id": [f"u{row}" for row in range(num_rows)],
        "event_id": [f"e{row}" for row in range(num_rows)],
        "event_time": pa.array([TIME] * num_rows, pa.timestamp("us")),
        "x": ["1"] * num_rows,
    }
    pq.write_table(pa.table({**keys, **columns}), directory / "part.parquet", **options)
    return read_partition(str(directory), modality, WINDOW, Limits(), 4, None)


def rejected(landed: Landed) -> list[tuple[int, str]]:
    return list(zip(landed.rejected["row_number"].to_pylist(), landed.rejected["reason"].to_pylist(), strict=True))


def test_an_operation_of_nulls_only_means_upsert(tmp_path: Path) -> None:
    landed = land(tmp_path, {"op": pa.nulls(2)})
    assert (landed.events["deleted"].to_pylist(), rejected(landed)) == ([False, False], [])


@pytest.mark.parametrize("name", ["user_id", "event_id", "event_time"])
def test_keys_of_nulls_only_reject_their_rows_by_name(tmp_path: Path, name: str) -> None:
    landed = land(tmp_path, {name: pa.nulls(2)})
    assert landed.events.num_rows == 0
    assert [reason.split()[:3] for _, reason in rejected(landed)] == [[name, "is", "null"]] * 2


def test_a_file_without_rows_whose_columns_have_no_type(tmp_path: Path) -> None:
    names = ("user_id", "event_id", "event_time", "op", "x")
    landed = land(tmp_path, {name: pa.nulls(0) for name in names})
    assert (landed.num_rows, landed.events.num_rows, landed.rejected.num_rows) == (0, 0, 0)
    pseudonyms = Pseudonyms(b"k" * 32)
    assert read_partition(str(tmp_path), WORDS, WINDOW, Limits(), 4, pseudonyms).events.num_rows == 0


@pytest.mark.parametrize("name", ["user_id", "event_id", "event_time"])
def test_keys_of_nulls_only_with_pseudonyms(tmp_path: Path, name: str) -> None:
    land(tmp_path, {name: pa.nulls(2)})
    landed = read_partition(str(tmp_path), WORDS, WINDOW, Limits(), 4, Pseudonyms(b"k" * 32))
    assert landed.rejected.num_rows == 2


@pytest.mark.parametrize("modality", [WORDS, NUMBERS, Modality(name="m", text="{x:.1f}")])
def test_a_declared_column_of_nulls_only(tmp_path: Path, modality: Modality) -> None:
    landed = land(tmp_path, {"x": pa.nulls(2)}, modality)
    assert (landed.events.num_rows, landed.rejected.num_rows) == (2, 0)
    assert set(landed.events["text"].to_pylist()) == {""}


SOME_TIMES = [TIME, datetime(9999, 12, 31), datetime(2300, 1, 1), datetime(1000, 1, 1), datetime(2024, 5, 1, 10, 0, 1)]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_instants_far_away_keep_their_year_or_are_rejected(tmp_path: Path, unit: str) -> None:
    landed = land(tmp_path, {"event_time": pa.array(SOME_TIMES, pa.timestamp("us")).cast(pa.timestamp(unit))})
    assert [year.year for year in sorted(landed.events["event_time"].to_pylist())] == [1000, 2024, 2024]
    assert [row for row, _ in rejected(landed)] == [1, 2]


def test_int96_far_away_keeps_its_year_or_is_rejected(tmp_path: Path) -> None:
    times = [*SOME_TIMES, TIME + timedelta(microseconds=123456)]
    table = {"event_time": pa.array(times, pa.timestamp("us"))}
    landed = land(tmp_path, table, use_deprecated_int96_timestamps=True)
    leaf = pq.ParquetFile(tmp_path / "part.parquet").schema.column(2)
    assert (leaf.name, leaf.physical_type) == ("event_time", "INT96")
    assert sorted(landed.events["event_time"].to_pylist()) == sorted([times[0], times[3], times[4], times[5]])
    assert [row for row, _ in rejected(landed)] == [1, 2]


def test_int96_beyond_microseconds_does_not_wrap_around(tmp_path: Path) -> None:
    """A Julian day may lie millions of years away; as microseconds such a day comes to lie in our century."""
    land(tmp_path, {"event_time": pa.array([TIME, TIME], pa.timestamp("us"))}, use_deprecated_int96_timestamps=True)
    path = tmp_path / "part.parquet"
    pq.write_table(pq.read_table(path), path, use_deprecated_int96_timestamps=True, use_dictionary=False,
                   compression="none", write_statistics=False)  # fmt: skip
    content = path.read_bytes()
    julian = (2_440_588 + (TIME - datetime(1970, 1, 1)).days).to_bytes(4, "little")
    # 2**64 microseconds are 213,503,982.3 days: that many later the wrapped instant is nearly the same.
    later = (2_440_588 + (TIME - datetime(1970, 1, 1)).days + 213_503_982).to_bytes(4, "little")
    first = content.index(julian)
    assert content.count(julian) == 2
    path.write_bytes(content[:first] + later + content[first + 4 :])
    landed = read_partition(str(tmp_path), WORDS, WINDOW, Limits(), 4, None)
    assert landed.events["event_time"].to_pylist() == [TIME]
    assert [row for row, _ in rejected(landed)] == [0]


def test_int96_as_text_is_an_instant_or_rejected(tmp_path: Path) -> None:
    times = pa.array([TIME, datetime(9999, 12, 31)], pa.timestamp("us"))
    landed = land(tmp_path, {"x": times}, use_deprecated_int96_timestamps=True)
    assert landed.events["text"].to_pylist() == ["2024-05-01 10:00:00.000000", "9999-12-31 00:00:00.000000"]


@pytest.mark.parametrize("number", [2**62, -(2**62), 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("unit", ["ms", "us"])
def test_numbers_that_no_calendar_has_are_rejected(tmp_path: Path, unit: str, number: int) -> None:
    times = pa.array([0, number], pa.int64()).view(pa.timestamp(unit, "UTC"))
    for name in ("event_time", "x"):
        landed = land(tmp_path, {name: times})
        assert landed.events.num_rows == 1, name
        assert [row for row, _ in rejected(landed)] == [1]


ZONES = ["GMT+8", "Asia/Beijing", "Mars/Olympus", "+05:30", "UTC", "Asia/Tokyo", ""]


@pytest.mark.parametrize("zone", ZONES)
def test_a_timezone_that_nobody_knows_stops_no_row(tmp_path: Path, zone: str) -> None:
    """An instant is one whatever its timezone is called: no machine's list of names is asked."""
    times = pa.array([TIME, TIME + timedelta(days=2)], pa.timestamp("us")).view(pa.timestamp("us", zone))
    landed = land(tmp_path, {"event_time": times, "x": times})
    assert landed.events["event_time"].to_pylist() == [TIME]
    assert landed.events["text"].to_pylist() == ["2024-05-01 10:00:00.000000" + ("Z" if zone else "")]
    assert [row for row, _ in rejected(landed)] == [1]
    assert json.loads(landed.rejected["row"][0].as_py())["event_time"].startswith("2024-05-03 10:00:00")


ODD = [
    (pa.array([Decimal("1.25")], pa.decimal256(50, 2)), "1.25", 1.25),
    (pa.array([Decimal("1.25")], pa.decimal32(5, 2)), "1.25", 1.25),
    (pa.array([Decimal("1.25")], pa.decimal64(5, 2)), "1.25", 1.25),
    (pa.array(["2.5"], pa.large_string()).dictionary_encode(), "2.5", 2.5),
    (pa.array([b"2.5"], pa.binary()).dictionary_encode(), "2.5", 2.5),
    (pa.array([b"2.5"], pa.binary_view()), "2.5", 2.5),
    (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615", 2.0**64),
    (pa.array([time(1, 2)], pa.time32("ms")), "01:02:00.000", None),
    (pa.array([time(1, 2)], pa.time64("ns")), "01:02:00.000000000", None),
    (pa.array([ID.bytes], pa.uuid()), str(ID), None),
    (pa.array(["[1]"], pa.json_()), "[1]", "not a number"),
    (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())), "1", 1.0),
    (pa.array([[1]], pa.large_list(pa.int8())), None, None),
    (pa.array([{"a": 1}], pa.struct([("a", pa.int8())])), None, None),
    (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), None, None),
]


@pytest.mark.parametrize(("column", "text", "number"), ODD, ids=lambda value: str(getattr(value, "type", "")))
def test_an_odd_type_is_read_or_refused_by_name(
    tmp_path: Path, column: pa.Array, text: str | None, number: float | str | None
) -> None:
    if text is None:
        with pytest.raises(DataRefusedError, match="'x'"):
            land(tmp_path, {"x": column})
    else:
        assert land(tmp_path, {"x": column}).events.select(["text", "category"]).to_pylist() == [
            {"text": text, "category": text}
        ]
    if number is None:
        with pytest.raises(DataRefusedError, match="'x'"):
            land(tmp_path, {"x": column}, NUMBERS)
    elif isinstance(number, str):
        assert [number in reason for _, reason in rejected(land(tmp_path, {"x": column}, NUMBERS))] == [True]
    else:
        assert land(tmp_path, {"x": column}, NUMBERS).events["numeric_0"].to_pylist() == [number]


@pytest.mark.parametrize("column", [column for column, text, _ in ODD if text is not None], ids=lambda c: str(c.type))
def test_a_bad_row_is_rejected_whatever_else_it_holds(tmp_path: Path, column: pa.Array) -> None:
    landed = land(tmp_path, {"x": pa.concat_arrays([column, column]), "event_id": ["good", None]})
    assert landed.events["event_id"].to_pylist() == ["good"]
    assert rejected(landed) == [(1, "event_id is null")]
    assert json.loads(landed.rejected["row"][0].as_py())["user_id"] == "u1"


def test_ids_may_be_uuids(tmp_path: Path) -> None:
    landed = land(tmp_path, {"user_id": pa.array([ID.bytes], pa.uuid()), "event_id": pa.array([ID.bytes], pa.uuid())})
    assert landed.events.select(["user_id", "event_id"]).to_pylist() == [{"user_id": str(ID), "event_id": str(ID)}]
    hashes = Pseudonyms(b"k" * 32)
    renamed = read_partition(str(tmp_path), WORDS, WINDOW, Limits(), 4, hashes)
    assert renamed.events["user_id"].to_pylist() == [hashes.of(str(ID))]


@pytest.mark.parametrize(
    ("how", "numbers", "texts"),
    [
        (".0f", [1.234, 1.245, 1.301, 0.5, 1.5], ["1", "1", "1", "0", "2"]),
        (".1f", [0.25, 0.35, -0.04, 0.0], ["0.2", "0.3", "0.0", "0.0"]),
        (",.2f", [1234567.891], ["1,234,567.89"]),
        (".0%", [0.123], ["12%"]),
        (".2e", [12345.0], ["1.23e+04"]),
        (".1g", [1234.0], ["1e+03"]),
    ],
)
def test_a_template_rounds(tmp_path: Path, how: str, numbers: list[float], texts: list[str]) -> None:
    modality = Modality(name="m", text=f"{{{{x}}}} {{x:{how}}}!")
    landed = land(tmp_path, {"x": pa.array(numbers)}, modality)
    assert landed.events.sort_by("event_id")["text"].to_pylist() == [f"{{x}} {text}!" for text in texts]


def test_a_rounded_column_may_be_text_number_and_itself_too(tmp_path: Path) -> None:
    modality = Modality(name="m", text="{x} {x:.0f} {x:.1f}", numeric=("x",), category="x")
    rows = land(tmp_path, {"x": pa.array(["1.26", None])}, modality).events.sort_by("event_id").to_pylist()
    assert [(row["text"], row["category"], row["numeric_0"]) for row in rows] == [
        ("1.26 1 1.3", "1.26", 1.26),
        ("  ", None, None),
    ]


@pytest.mark.parametrize("column", [[1, 2], [Decimal("1.00"), Decimal("2.00")], ["1", "2.0"], [1.0, 2.0], [True, 2]])
def test_rounding_depends_on_the_number_and_not_on_its_type(tmp_path: Path, column: list[Any]) -> None:
    values = [float(value) for value in column] if True in column else column
    landed = land(tmp_path, {"x": pa.array(values)}, Modality(name="m", text="{x:.1f}"))
    assert landed.events.sort_by("event_id")["text"].to_pylist() == ["1.0", "2.0"]


def test_what_cannot_be_rounded_is_rejected(tmp_path: Path) -> None:
    modality = Modality(name="m", text="{x:.0f}")
    landed = land(tmp_path, {"x": pa.array(["1", "many", "nan"])}, modality)
    assert landed.events["text"].to_pylist() == ["1"]
    assert rejected(landed) == [(1, "x is not a number"), (2, "x is not finite")]
    landed = land(tmp_path, {"x": pa.array([math.inf, 1.0])}, modality)
    assert rejected(landed) == [(0, "x is not finite")]
    with pytest.raises(DataRefusedError, match=r"'x' is timestamp.* not a number"):
        land(tmp_path, {"x": pa.array([datetime(2024, 1, 1, tzinfo=UTC)])}, modality)
