"""Atomic files on a local disk and on any other filesystem."""

import os
from datetime import date
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.factories import bill, land_rows
from updater.lake import partitions
from updater.lake.partitions import (
    day_directory,
    exists,
    filesystem,
    has_landed,
    is_local,
    join,
    landed_days,
    list_files,
    list_names,
    mark_success,
    read_table,
    remove,
    write_file,
    write_partition,
    write_table,
)

DAY = date(2024, 1, 2)


@pytest.fixture(params=["local", "memory"])
def root(request, tmp_path):
    if request.param == "local":
        yield str(tmp_path / "lake")
    else:
        url = f"memory://{uuid4().hex}"
        yield url
        remove(url)


def content(path: str) -> bytes:
    fs, inner = filesystem(path)
    return bytes(fs.cat_file(inner))


def test_a_file_appears_whole_when_the_block_ends(root):
    path = join(root, "a", "b.bin")
    with write_file(path) as file:
        file.write(b"one")
        assert not exists(path)
        file.write(b" two")
    assert content(path) == b"one two"
    assert list_names(join(root, "a")) == ["b.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_nothing(root, error):
    path = join(root, "a", "b.bin")
    with pytest.raises(error), write_file(path) as file:
        file.write(b"half")
        raise error
    assert not exists(path)
    assert list_names(join(root, "a")) == []


def test_an_error_keeps_the_earlier_file(root):
    path = join(root, "a", "b.bin")
    with write_file(path) as file:
        file.write(b"first")
    with pytest.raises(ValueError), write_file(path) as file:
        file.write(b"second")
        raise ValueError
    assert content(path) == b"first"
    assert list_names(join(root, "a")) == ["b.bin"]


def test_a_later_file_replaces_the_earlier_one(root):
    path = join(root, "b.bin")
    for text in (b"first and longer", b"second"):
        with write_file(path) as file:
            file.write(text)
    assert content(path) == b"second"


def test_a_failing_disk_leaves_nothing(tmp_path, monkeypatch):
    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partitions.os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"), write_file(str(tmp_path / "b.bin")) as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_being_written_is_not_listed(tmp_path):
    with write_file(str(tmp_path / "b.parquet")) as file:
        file.write(b"x")
        assert list_files(str(tmp_path)) == []
    assert list_files(str(tmp_path)) == [str(tmp_path / "b.parquet")]


def test_tables_read_back_as_written(root):
    table = pa.table({"user_id": ["a", "b"], "vector": pa.array([[1.0], [2.0]], pa.list_(pa.float32()))})
    path = join(root, "t.parquet")
    write_table(path, table)
    assert read_table(path).equals(table)
    assert read_table(path, ["user_id"]).column_names == ["user_id"]


def test_equal_tables_give_equal_bytes(root):
    table = pa.table({"user_id": [f"u{n}" for n in range(1000)]})
    for name in ("a", "b"):
        write_table(join(root, name), table)
    assert content(join(root, "a")) == content(join(root, "b"))


def test_a_day_has_landed_only_with_its_mark(root):
    write_partition(root, DAY, pa.table({"user_id": ["a"]}))
    assert not has_landed(root, DAY)
    assert landed_days(root) == []
    mark_success(root, DAY)
    assert has_landed(root, DAY)
    assert content(join(day_directory(root, DAY), "_SUCCESS")) == b""
    assert list_files(day_directory(root, DAY)) == [join(root, "ds=2024-01-02", "part-000.parquet")]


def test_landed_days_are_sorted_and_skip_what_is_no_day(root):
    for day in (date(2024, 1, 10), DAY, date(2023, 12, 31)):
        mark_success(root, day)
    for stray in ("ds=2024-01-03.bak", "ds=20240104", "ds=__HIVE_DEFAULT_PARTITION__", "tmp"):
        with write_file(join(root, stray, "_SUCCESS")):
            pass
    assert landed_days(root) == [date(2023, 12, 31), DAY, date(2024, 1, 10)]


def test_what_is_not_there_is_empty(root):
    assert list_files(join(root, "nowhere")) == list_names(join(root, "nowhere")) == landed_days(root) == []
    assert not exists(join(root, "nowhere"))
    remove(join(root, "nowhere"))


def test_hidden_and_other_files_are_not_listed(root):
    for name in ("b.parquet", "a.parquet", ".c.parquet", "_d.parquet", "e.crc"):
        with write_file(join(root, name)):
            pass
    assert list_files(root) == [join(root, "a.parquet"), join(root, "b.parquet")]
    assert list_files(root, ".crc") == [join(root, "e.crc")]


def test_remove_takes_files_and_trees(root):
    for name in ("a/b/c", "a/d", "e"):
        with write_file(join(root, *name.split("/"))) as file:
            file.write(b"x")
    remove(join(root, "a"))
    remove(join(root, "e"))
    assert not exists(join(root, "a")) and not exists(join(root, "e"))


@pytest.mark.parametrize(
    ("root", "joined", "local"),
    [("lake/", "lake/a/b", True), ("s3://bucket", "s3://bucket/a/b", None), ("memory://x", "memory://x/a/b", False)],
)
def test_paths_and_urls_join_alike(root, joined, local):
    assert join(root, "a", "b") == joined
    if local is not None:
        assert is_local(root) is local


def test_rows_of_the_factories_keep_the_lake_contract(tmp_path):
    rows = [bill("u1", "e1", "2024-01-02 03:04:05"), bill("u2", "e2", "2024-01-02", op="delete", amount=None)]
    land_rows(str(tmp_path), "bill", DAY, rows)
    table = read_table(list_files(day_directory(str(tmp_path / "bill"), DAY))[0])
    assert table.schema.field("event_time").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("op").type == table.schema.field("user_id").type == pa.string()
    assert table.to_pylist()[0]["op"] is None
    assert has_landed(str(tmp_path / "bill"), DAY)
    assert Path(tmp_path, "bill", "ds=2024-01-02", "_SUCCESS").exists()


def test_vectors_lie_plainly_in_a_file_and_other_columns_have_dictionaries(root):
    vectors = pa.array([[0.5, 1.5], [0.5, 2.5]], pa.list_(pa.float32()))
    table = pa.table({"user_id": ["a", "a"], "vector": vectors, "ids": pa.array([[1], [1]], pa.list_(pa.int64()))})
    path, narrow = join(root, "vectors.parquet"), join(root, "narrow.parquet")
    write_table(path, table)
    write_table(narrow, table.drop_columns("vector"))

    assert read_table(path).equals(table)
    columns = {column.path_in_schema: column for column in _columns(path)}
    with_dictionary = {name for name, column in columns.items() if column.has_dictionary_page}
    assert {"user_id"} <= with_dictionary
    assert "vector.list.element" in columns.keys() - with_dictionary
    assert {column.compression for column in columns.values()} == {"LZ4"}
    assert {column.compression for column in _columns(narrow)} == {"ZSTD"}


def _columns(path):
    group = pq.ParquetFile(pa.BufferReader(content(path))).metadata.row_group(0)
    return [group.column(number) for number in range(group.num_columns)]


def test_a_directory_that_others_make_and_remove_meanwhile(tmp_path, monkeypatch):
    """os.makedirs finds the directory there when it makes it, and gone when it looks what it is."""
    directory, makedirs, calls = tmp_path / "day", os.makedirs, []

    def interrupted(path, *arguments, **options):
        calls.append(path)
        if len(calls) == 1:
            raise FileExistsError(path)
        return makedirs(path, *arguments, **options)

    monkeypatch.setattr(os, "makedirs", interrupted)
    with write_file(str(directory / "file")) as file:
        file.write(b"whole")
    assert (directory / "file").read_bytes() == b"whole"
    assert len(calls) == 2


def test_a_file_in_the_place_of_a_directory(tmp_path):
    (tmp_path / "day").write_bytes(b"")
    with pytest.raises(FileExistsError), write_file(str(tmp_path / "day" / "file")):
        pass


def test_what_cannot_hold_a_file_is_an_error(tmp_path: Path) -> None:
    link = tmp_path / "nowhere"
    link.symlink_to(tmp_path / "gone")
    for parent in ("/dev/null", str(link)):
        with pytest.raises(OSError), partitions.write_file(f"{parent}/x"):
            raise AssertionError
