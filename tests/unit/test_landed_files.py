"""What lies in a landed day beside its Parquet files is refused by name, and a listing is asked for once."""

import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.factories import bill, land_rows
from tests.object_store import ObjectStore, object_store
from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.errors import DataRefusedError
from updater.lake.landed_files import files_of_day, files_of_days
from updater.lake.landing import Landed, read_partition
from updater.lake.partitions import day_directory, join, landed_days
from updater.settings import Limits

DAY = date(2024, 5, 1)
MODALITY = Modality(name="bill", text="{category}")
ROW = bill("u", "e", "2024-05-01 10:00:00")


def read(directory: Path | str) -> Landed:
    return read_partition(str(directory), MODALITY, day_window(DAY, "UTC"), Limits(), 4, None)


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """The directory of a landed day with one good file."""
    land_rows(str(tmp_path), "bill", DAY, [ROW])
    return Path(day_directory(str(tmp_path / "bill"), DAY))


def make_nested(path: Path) -> None:
    path.mkdir()
    pq.write_table(pa.table({"x": [1]}), path / "part-000.parquet")


STRANGERS = {
    "hour=00": (Path.mkdir, "a directory"),
    "hour=01": (make_nested, "a directory"),
    "more.parquet": (make_nested, "a directory"),
    "gone.parquet": (lambda path: path.symlink_to("nowhere"), "a link to nowhere"),
    "to.parquet": (lambda path: path.symlink_to("/"), "a directory"),
    "pipe.parquet": (lambda path: os.mkfifo(path), "neither a file nor a directory"),
    "part-001": (Path.touch, "no Parquet file by its name"),
    "part-001.csv": (Path.touch, "no Parquet file by its name"),
    "part-001.parquet.tmp": (Path.touch, "no Parquet file by its name"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_cannot_be_read_is_refused_by_name(day: Path, name: str) -> None:
    make, what = STRANGERS[name]
    make(day / name)
    with pytest.raises(DataRefusedError) as refused:
        read(day)
    assert f"{day}/{name} is {what}, " in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 9, b"user_id,event_id\n", bytes(range(99))])
def test_what_is_no_parquet_inside_is_refused_by_name(day: Path, content: bytes) -> None:
    (day / "part-001.parquet").write_bytes(content)
    with pytest.raises(DataRefusedError, match=r"part-001.parquet is not a readable Parquet file"):
        read(day)


def test_a_damaged_file_is_refused_by_name(day: Path) -> None:
    path = day / "part-000.parquet"
    content = path.read_bytes()
    for position in range(4, len(content), 7):
        path.write_bytes(content[:position] + bytes(8) + content[position + 8 :])
        try:
            read(day)
        except DataRefusedError as refused:
            assert "part-000.parquet" in str(refused)


def test_names_of_any_case_are_read_and_hidden_ones_are_not(day: Path) -> None:
    more = bill("v", "e", "2024-05-01 11:00:00")
    land_rows(str(day.parent.parent), "bill", DAY, [more], name="PART-001.PARQUET")
    for name in ("_metadata", ".part-000.parquet.crc", "_old.parquet", ".hidden.parquet"):
        (day / name).write_bytes(b"no Parquet")
    make_nested(day / "_temporary")
    assert read(day).events["user_id"].to_pylist() and read(day).num_rows == 2


def test_a_link_to_a_file_is_read(day: Path) -> None:
    (day / "part-000.parquet").rename(day.parent / "elsewhere")
    (day / "part-000.parquet").symlink_to(day.parent / "elsewhere")
    assert read(day).num_rows == 1


def test_a_file_that_may_not_be_read_is_refused_by_name(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    def denied(self: Any, path: str, *args: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(LocalFileSystem, "_open", denied)
    with pytest.raises(DataRefusedError, match=r"part-000.parquet .*Permission denied"):
        read(day)
    monkeypatch.setattr(LocalFileSystem, "ls", denied)
    with pytest.raises(DataRefusedError, match=f"{day} cannot be listed .*Permission denied"):
        read(day)


def test_strangers_change_token_and_digest(day: Path) -> None:
    before = files_of_day(str(day))
    (day / "_more").touch()
    assert files_of_day(str(day)).token == before.token
    (day / "part-001").touch()
    after = files_of_day(str(day))
    assert after.token != before.token
    assert after.digest() != before.digest()


def test_a_token_is_the_same_for_ever(day: Path) -> None:
    """Ledgers keep it, and a new one would have every partition read again."""
    os.utime(day / "part-000.parquet", (1_700_000_000, 1_700_000_000))
    (day / "part-000.parquet").write_bytes(b"12345")
    os.utime(day / "part-000.parquet", (1_700_000_000, 1_700_000_000))
    assert files_of_day(str(day)).token == "34558ebcdc9947a564959530274541b8"


@pytest.fixture
def objects() -> Iterator[str]:
    """A root in an object store, with a count of its requests."""
    with object_store() as root:
        yield root


def test_landed_days_are_one_listing(objects: str) -> None:
    root = join(objects, "bill")
    for number in range(30):
        land_rows(objects, "bill", DAY + timedelta(number), [ROW], success=number != 3)
    land_rows(objects, "bill", DAY + timedelta(40), [ROW], success=False)
    ObjectStore.requests.clear()
    assert landed_days(root) == [DAY + timedelta(number) for number in range(30) if number != 3]
    assert ObjectStore.requests.total() == 1


def test_many_days_are_listed_as_each_alone_with_one_request(objects: str, tmp_path: Path) -> None:
    wanted = [DAY + timedelta(number) for number in range(9)]
    for root in (objects, str(tmp_path)):
        for ds in wanted[:8]:
            land_rows(root, "bill", ds, [ROW])
        land_rows(root, "bill/ds=2024-05-02/hour=00", DAY, [ROW])
        land_rows(root, "bill", wanted[2], [ROW], name="no-suffix")
        land_rows(root, "bill", wanted[3], [ROW], name="_hidden.parquet")
        single = {ds: files_of_day(day_directory(join(root, "bill"), ds)) for ds in wanted}
        ObjectStore.requests.clear()
        many = files_of_days(join(root, "bill"), wanted)
        assert ObjectStore.requests.total() == (root == objects)
        assert [len(many[ds].files) for ds in wanted] == [1] * 8 + [0]
        assert [name for ds in wanted for name, _ in many[ds].others] == ["hour=00", "no-suffix"]
        plain = [ds for ds in wanted if ds != wanted[1]]
        assert [many[ds] for ds in plain] == [single[ds] for ds in plain]
        assert (many[wanted[1]].others, many[wanted[1]].files) == (single[wanted[1]].others, single[wanted[1]].files)


def test_a_day_of_an_object_store_is_read_with_one_listing(objects: str) -> None:
    for number in range(5):
        row = {**ROW, "user_id": f"u{number}"}
        land_rows(objects, "bill", DAY, [row], name=f"part-{number}.parquet")
    ObjectStore.requests.clear()
    landed = read(day_directory(join(objects, "bill"), DAY))
    assert landed.num_rows == 5
    assert ObjectStore.requests["list"] == 1
