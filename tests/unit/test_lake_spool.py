"""Partitions that are larger than the memory they may take give the same rows, in the same bytes."""

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from updater.domain.declared.modality import Modality
from updater.domain.erasure import Erased, erasure_hash
from updater.domain.window import day_window
from updater.lake import landing, partitions, reading
from updater.lake.landing import Landed, read_partition
from updater.lake.schemas import EVENT_ROWS
from updater.lake.spool import Spool
from updater.settings import Limits

DAY = date(2024, 5, 1)
BILL = Modality(name="bill", text="{category} for {amount:.0f}", numeric=("amount",), category="category")
SALT = "ab" * 32


def write_partition(directory: Path, num_rows: int = 30_000, files: int = 3) -> None:
    """Rows with late corrections in later files, ids that sort differently by byte than by letter, and bad rows."""
    chance = random.Random(5)
    users = [chance.choice("uUé日\U0001f600 ") + str(number) for number in range(num_rows // 20)]
    for number in range(files):
        rows: list[dict[str, Any]] = [
            {
                "user_id": chance.choice(users) if chance.random() > 0.02 else None,
                "event_id": f"e{chance.randrange(num_rows)}",
                "event_time": datetime(2024, 5, 1, tzinfo=UTC) - timedelta(microseconds=chance.randrange(10**13)),
                "op": chance.choice([None, "upsert", "delete", "delete", "?" if chance.random() < 0.1 else None]),
                "category": chance.choice(["dairy", "bread", None, "b\0x"]),
                "amount": chance.choice([None, -0.0, 0.0, 1.5, chance.gauss(0, 100)]),
            }
            for _ in range(num_rows // files)
        ]
        partitions.write_table(str(directory / f"part-{number}.parquet"), pa.Table.from_pylist(rows), 1000)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A partition that is read and left as it is."""
    directory = tmp_path_factory.mktemp("large")
    write_partition(directory)
    return directory


def read(directory: Path, memory_bytes: int = 1 << 40, erased: Erased | None = None) -> Landed:
    window = day_window(DAY, "UTC")
    return read_partition(str(directory), BILL, window, Limits(), 4, None, erased, memory_bytes)


def contents(landed: Landed) -> tuple[bytes, bytes]:
    return partitions.to_parquet(landed.events, EVENT_ROWS), partitions.to_parquet(landed.rejected)


@pytest.mark.parametrize("memory_bytes", [0, 100_000])
def test_what_is_sorted_on_disk_has_the_same_bytes(large: Path, memory_bytes: int) -> None:
    plain, spilled = read(large), read(large, memory_bytes)
    assert plain.events.num_rows > 20_000 and plain.rejected.num_rows > 100
    assert contents(spilled) == contents(plain)
    assert (spilled.num_rows, spilled.num_bytes, spilled.digest) == (plain.num_rows, plain.num_bytes, plain.digest)


def test_the_number_of_rows_read_at_a_time_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_partition(tmp_path, 3_000)
    plain = read(tmp_path)
    for num_rows in (53, 999):
        monkeypatch.setattr(reading, "BATCH_ROWS", num_rows)
        assert contents(read(tmp_path)) == contents(plain)


def test_row_numbers_count_from_the_beginning_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_partition(tmp_path, 3_000)
    monkeypatch.setattr(reading, "BATCH_ROWS", 64)
    rejected = read(tmp_path, 0).rejected.to_pylist()
    for name in {row["file"] for row in rejected}:
        users = pq.ParquetFile(tmp_path / name).read()["user_id"].to_pylist()
        null = [row["row_number"] for row in rejected if row["file"] == name and row["reason"] == "user_id is null"]
        assert null == [number for number, user in enumerate(users) if user is None]


def test_erased_users_are_left_out_of_what_is_spilled(large: Path) -> None:
    plain = read(large)
    gone = sorted(set(plain.events["user_id"].to_pylist()))[::7]
    erased = Erased(SALT, frozenset(erasure_hash(SALT, user) for user in gone))
    in_memory, spilled = read(large, erased=erased), read(large, 0, erased)
    assert contents(spilled) == contents(in_memory)
    assert spilled.num_erased == in_memory.num_erased > 0
    assert not set(gone) & set(spilled.events["user_id"].to_pylist())
    kept = [row for row in plain.events.to_pylist() if row["user_id"] not in gone]
    assert spilled.events.to_pylist() == kept


def test_rows_beyond_the_limit_take_no_memory(large: Path) -> None:
    """What is spilled is mapped, not held: Arrow has allocated next to nothing for it."""
    del_before = pa.total_allocated_bytes()
    spilled = read(large, 100_000)
    assert pa.total_allocated_bytes() - del_before < spilled.events.nbytes / 10
    assert spilled.events.nbytes > 1_000_000


def test_nothing_is_left_in_the_temporary_directory(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    read(large, 0)
    assert list(tmp_path.iterdir()) == []

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(landing, "in_order_on_disk", fail)
    with pytest.raises(ZeroDivisionError):
        read(large, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_spool_keeps_the_order_of_its_rows() -> None:
    schema = pa.schema([("x", pa.int64())])
    for limit in (0, 100, 1 << 30):
        with Spool(schema, limit) as spool:
            for first in range(0, 100, 10):
                spool.add(pa.table({"x": list(range(first, first + 10))}, schema=schema))
            spool.add(schema.empty_table())
            assert spool.table()["x"].to_pylist() == list(range(100))
            assert spool.on_disk == (limit <= 100)
    with Spool(schema, 0) as spool:
        assert spool.table() == schema.empty_table()
