"""Merged files hold the rows of the files they were made of, in groups that a reader can skip."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from updater.domain.buckets import bucket_of
from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.lake.landing import text_id
from updater.lake.partitions import write_table
from updater.lake.schemas import event_schema
from updater.state import embeddings
from updater.state.bucket_files import all_files
from updater.state.event_store import Buffer, EventFile, connect, read_rows
from updater.state.merge import merge_events, merge_offline
from updater.state.text_vectors import TextVectors
from updater.store.daily_files import DailyFiles

STREAM = Modality(name="bill", text="{word}", numeric=("amount",))
SNAPSHOT = Modality(name="app", kind="snapshot", text="{word}", numeric=("amount",))
START = date(2024, 5, 1)
BUCKETS = 3
USERS = ("ann", "bob", "cid", "dot", "eve", "fay")


def landed(root: Path, modality: Modality, number: int, users: Sequence[str], amount: float = 1.0) -> EventFile:
    """The file of day `number`, on which each of `users` has one row, sorted as a landing is."""
    ds = START + timedelta(days=number)
    rows = [
        {
            "user_id": user,
            "bucket": bucket_of(user, BUCKETS),
            "ds": ds,
            "event_id": f"e{number}",
            "event_time": datetime(ds.year, ds.month, ds.day, 9),
            "deleted": False,
            "text": user,
            "text_id": text_id(user),
            "numeric_0": amount,
        }
        for user in sorted(users, key=lambda user: (bucket_of(user, BUCKETS), user))
    ]
    path = str(root / modality.name / f"{ds}-{amount:g}.parquet")
    write_table(path, pa.Table.from_pylist(rows, event_schema(modality)))
    return EventFile(ds, path)


def merged(root: Path, modality: Modality, files: Sequence[EventFile], newest_only: bool = False) -> list[EventFile]:
    path = str(root / modality.name / "merged" / f"{len(files)}.parquet")
    merge_events(connect(), modality, files, range(BUCKETS), newest_only, path)
    return [EventFile(file.ds, path, merged=True) for file in files]


def content(modality: Modality, files: Sequence[EventFile], number: int) -> list[dict[str, Any]]:
    buffer = Buffer(connect(), modality, files, 3, "UTC")
    rows: list[dict[str, Any]] = buffer.content(day_window(START + timedelta(days=number), "UTC")).to_pylist()
    return rows


@pytest.mark.parametrize("modality", [STREAM, SNAPSHOT], ids=lambda modality: modality.kind)
def test_every_window_reads_the_same_of_merged_days(tmp_path: Path, modality: Modality) -> None:
    files = [landed(tmp_path, modality, number, USERS[number:]) for number in range(5)]
    first = merged(tmp_path, modality, files[:3])
    again = merged(tmp_path, modality, [*first, files[3]])
    for layout in ([*first, *files[3:]], [*again, files[4]]):
        for number in range(5):
            assert content(modality, layout, number) == content(modality, files, number)
            window = day_window(START + timedelta(days=number), "UTC")
            one, other = (Buffer(connect(), modality, of, 3, "UTC").changes(window) for of in (files, layout))
            assert one == other
    assert read_rows(again[1:2], ["user_id"]) == read_rows(files[1:2], ["user_id"])


def test_rows_of_a_day_that_was_recorded_anew_are_not_read(tmp_path: Path) -> None:
    files = [landed(tmp_path, STREAM, number, USERS) for number in range(3)]
    month = merged(tmp_path, STREAM, files)
    restated = [month[0], landed(tmp_path, STREAM, 1, USERS[:1], amount=9.0), month[2]]
    expected = [files[0], restated[1], files[2]]
    assert content(STREAM, restated, 2) == content(STREAM, expected, 2)
    assert content(STREAM, merged(tmp_path / "again", STREAM, restated), 2) == content(STREAM, expected, 2)
    emptied = [month[0], month[2]]
    assert {row["event_id"] for row in content(STREAM, emptied, 2)} == {"e0", "e2"}


def test_a_snapshots_base_has_each_users_newest_rows(tmp_path: Path) -> None:
    files = [landed(tmp_path, SNAPSHOT, number, USERS[number:]) for number in range(4)]
    base = merged(tmp_path, SNAPSHOT, files, newest_only=True)
    assert content(SNAPSHOT, base, 3) == content(SNAPSHOT, files, 3)
    assert pq.read_metadata(base[0].path).num_rows == len(USERS)


@pytest.mark.parametrize(("fewest", "ends"), [(1, [(0, 0), (1, 1), (2, 2)]), (7, [(0, 1), (2, 2)]), (99, [(0, 2)])])
def test_a_row_group_of_a_merged_event_file_has_whole_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewest: int, ends: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr("updater.state.merge.FEWEST_GROUP_ROWS", fewest)
    files = [landed(tmp_path, STREAM, number, USERS) for number in range(3)]
    month = merged(tmp_path, STREAM, files)
    metadata = pq.read_metadata(month[0].path)
    groups = [metadata.row_group(i).column(1).statistics for i in range(metadata.num_row_groups)]
    assert metadata.row_group(0).column(1).path_in_schema == "bucket"
    assert [(group.min, group.max) for group in groups] == ends
    assert content(STREAM, month, 2) == content(STREAM, files, 2)


@pytest.mark.parametrize("small", [0, 2**20], ids=["read twice", "read once"])
def test_a_window_of_offline_rows_is_found_in_merged_days(
    small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("updater.store.daily_files.SMALL_BYTES", small)
    written: dict[date, pa.Table] = {}
    for number in range(4):
        ds = START + timedelta(days=number)
        stamp = pa.scalar(datetime(ds.year, ds.month, ds.day) + timedelta(days=1), embeddings.TIMESTAMP)
        users = USERS[number:]
        written[ds] = pa.table(
            {
                "user_id": pa.array(users),
                "value": pa.array([number] * len(users), pa.int64()),
                "event_timestamp": pa.repeat(stamp, len(users)),
                "created_timestamp": pa.repeat(stamp, len(users)),
            }
        )
        write_table(str(tmp_path / f"ds={ds}" / "bucket-000.parquet"), written[ds])
    for kind, newest in (("span", False), ("base", True)):
        root = tmp_path / kind
        paths = [file.path for file in all_files(str(tmp_path)) if file.kind == "ds"]
        target = f"{kind}={START}_{START + timedelta(days=3)}/bucket-000-0123456789abcdef.parquet"
        merge_offline(connect(), paths, newest, str(root / target))
        reader = DailyFiles(str(root), "user_id", "event_timestamp", "created_timestamp")
        for ds, table in written.items():
            instant = day_window(ds, "UTC").as_of
            rows = [row for batch in reader.newest_rows(["value"], instant, instant, 100) for row in batch.to_pylist()]
            kept = [row for row in table.to_pylist() if not newest or row["user_id"] == USERS[row["value"]]]
            kept = table.to_pylist() if newest and ds == max(written) else kept
            assert sorted(row["user_id"] for row in rows) == sorted(row["user_id"] for row in kept)
            assert {row["value"] for row in rows} == {row["value"] for row in kept}


def test_text_segments_are_merged_beside_what_they_hold(tmp_path: Path) -> None:
    vectors = TextVectors(str(tmp_path))
    ids = [text_id(user) for user in USERS]
    made = np.arange(12, dtype=np.float16).reshape(6, 2)
    for start in (0, 2, 4):
        vectors.append(ids[start : start + 2], made[start : start + 2])
    assert (len(vectors.small()), vectors.covered()) == (3, [])
    small = vectors.small()
    vectors.merge(small)
    assert vectors.covered() == sorted(small)
    assert len(vectors.small()) == 1
    for path in small:
        Path(path).unlink()
    # Whoever had them open sees the one that is left, and holds none that is gone.
    vectors.refresh()
    for left in (vectors, TextVectors(str(tmp_path))):
        assert left.gather(pa.array(ids, pa.binary(16))).tolist() == made.tolist()
        assert left.covered() == []
