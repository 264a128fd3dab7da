"""Names that a parser of URLs reads otherwise are names all the same."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.cached import SimpleCacheFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from tests.factories import bill, land_rows
from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.lake import partitions
from updater.lake.landed_files import files_of_days
from updater.lake.landing import read_partition
from updater.locations import filesystem
from updater.settings import Limits

DAY = date(2024, 5, 1)
NAMES = [
    "a::b",
    "a:::b",
    "what?",
    "v=1?x=2",
    "#1",
    "50%",
    "%41",
    "with space",
    "a:b",
    "memory::x",
    "data:x",
    "ü",
    "+&;",
]


@pytest.fixture(params=["", "file://", "memory://"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    kind = request.param
    yield kind + (uuid4().hex if kind == "memory://" else str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_a_root_may_have_any_name(root: str, name: str) -> None:
    lake = partitions.join(root, name, "lake")
    row = bill("u", "e", "2024-05-01 10:00:00")
    for number, file in enumerate(NAMES):
        land_rows(lake, "bill", DAY, [{**row, "event_id": f"e{number}"}], name=f"{file}.parquet")
    bills = partitions.join(lake, "bill")
    assert partitions.landed_days(bills) == [DAY]
    found = files_of_days(bills, [DAY])[DAY]
    assert [path.rsplit("/", 1)[-1] for path in found.files] == sorted(f"{file}.parquet" for file in NAMES)
    window, modality = day_window(DAY, "UTC"), Modality(name="bill", text="{category}")
    landed = read_partition(partitions.day_directory(bills, DAY), modality, window, Limits(), 4, None)
    assert (landed.num_rows, landed.rejected.num_rows) == (len(NAMES), 0)
    partitions.remove(lake)
    assert partitions.list_names(bills) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_chained_url_ends_where_its_path_begins(name: str) -> None:
    root = f"memory://{uuid4().hex}/{name}"
    land_rows(root, "bill", DAY, [bill("u", "e", "2024-05-01 10:00:00")], name=f"{name}.parquet")
    chained = f"simplecache::{root}"
    assert isinstance(filesystem(chained)[0], SimpleCacheFileSystem)
    assert partitions.landed_days(f"{chained}/bill") == [DAY]
    path = partitions.join(partitions.day_directory(f"{chained}/bill", DAY), f"{name}.parquet")
    assert partitions.read_table(path).num_rows == 1


def test_what_is_no_url_is_a_path_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/homes/somebody")
    for path, inner in {
        "/a::b/c": "/a::b/c",
        "a::b": f"{tmp_path}/a::b",
        "file:x": f"{tmp_path}/file:x",
        "~/lake": "/homes/somebody/lake",
        "/lake/": "/lake",
        "/": "/",
        "file:///a?b#c::d": "/a?b#c::d",
    }.items():
        fs, found = filesystem(path)
        assert (type(fs), found) == (LocalFileSystem, inner), path
    fs, found = filesystem("memory://a?b#c::d/e")
    assert (type(fs), found) == (MemoryFileSystem, "/a?b#c::d/e")
