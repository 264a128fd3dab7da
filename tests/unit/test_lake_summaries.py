"""Summaries, offline rows and text vectors."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from updater.domain.bucket_file_names import file_name
from updater.domain.declared.scenario import Scenario
from updater.lake.partitions import write_partition
from updater.state import embeddings, summaries
from updater.state.bucket_files import bucket_files
from updater.state.event_store import connect
from updater.state.summaries import Summaries, summarize
from updater.state.text_vectors import TextVectors

DAY = 86_400.0
DS = date(2024, 5, 1)
SCENARIO = Scenario(name="lapse", domain="risk", query="?")


def made(offset: float, users: int = 2) -> Summaries:
    times = np.array([0.0, 1.0, 2.0])[: users + 1] + offset
    offsets = np.array([0, 1, 3])[: users + 1]
    return summarize(np.arange(users * 3, dtype=float).reshape(users, 3) + offset, times, offsets)


def test_a_summary_counts_within_days_of_its_own_newest_event() -> None:
    times = np.array([0.0, 0.1, 21.1, 28.1]) * DAY
    result = summarize(np.array([[4.0], [0.0]]), times, np.array([0, 4, 4]))
    assert result.num_recent_BR.tolist() == [[2, 3], [0, 0]]
    assert (result.first_event_B[0], result.last_event_B[0]) == (0.0, 28.1 * DAY)
    assert result.mean_BV.tolist() == [[1.0], [0.0]]
    assert np.isnan(result.first_event_B[1])


def test_the_newest_summary_is_that_of_the_last_day_and_generation(tmp_path: Path) -> None:
    users = ["u", "v"]
    for ds, generation, offset in ((DS, 0, 0.0), (DS, 1, 10.0), (DS - timedelta(days=1), 2, 20.0)):
        table = summaries.to_table(users, "bill", made(offset), ds, generation)
        write_partition(str(tmp_path), ds, table, file_name(3, generation))
    with connect() as connection:
        files = bucket_files(str(tmp_path), 3)
        wanted = pa.table({"user_id": ["v", "nobody", "u"]})
        read = summaries.read_newest(connection, files, {"bill": 3, "search": 5}, wanted)
        found = read["bill"]
        expected = made(10.0)
        for row, mine in ((0, 1), (2, 0)):
            assert found.mean_BV[row].tolist() == expected.mean_BV[mine].tolist()
            assert found.num_recent_BR[row].tolist() == expected.num_recent_BR[mine].tolist()
            assert found.last_event_B[row] == expected.last_event_B[mine]
        assert found.num_events_B.tolist() == [2, 0, 1]
        assert read["search"].num_events_B.tolist() == [0, 0, 0]
        assert summaries.read_users(connection, files) == users


def test_a_snapshot_has_no_times(tmp_path: Path) -> None:
    nothing = summarize(np.ones((1, 2)), np.full(3, np.nan), np.array([0, 3]))
    assert nothing.num_recent_BR.tolist() == [[0, 0]]
    table = summaries.to_table(["u"], "app", nothing, DS, 0)
    assert table["last_event"].to_pylist() == [None]
    write_partition(str(tmp_path), DS, table, file_name(0, 0))
    with connect() as connection:
        wanted = pa.table({"user_id": ["u"]})
        found = summaries.read_newest(connection, bucket_files(str(tmp_path), 0), {"app": 2}, wanted)["app"]
    assert np.isnan(found.last_event_B[0])


def test_files_of_a_bucket(tmp_path: Path) -> None:
    table = pa.table({"x": [1]})
    for ds, bucket, generation in ((DS, 1, 0), (DS, 10, 0), (DS, 1, 2), (DS + timedelta(days=1), 1, 0)):
        write_partition(str(tmp_path), ds, table, file_name(bucket, generation))
    (tmp_path / "ds=2024-05-01" / ".bucket-001.parquet.1.tmp").touch()
    names = [Path(path).relative_to(tmp_path).as_posix() for path in bucket_files(str(tmp_path), 1)]
    first = ["ds=2024-05-01/bucket-001.parquet", "ds=2024-05-01/bucket-001-g2.parquet"]
    assert names == [*first, "ds=2024-05-02/bucket-001.parquet"]
    assert len(bucket_files(str(tmp_path), 1, DS)) == 2
    assert bucket_files(str(tmp_path / "nowhere"), 1) == []


def test_a_correction_is_newer_than_what_it_corrects(tmp_path: Path) -> None:
    as_of, created = datetime(2024, 5, 2, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
    days = ((0, 0, 0, 1.0), (1, 0, 1, 2.0), (0, 1, 2, 3.0))
    for day, generation, hours, value in days:
        vectors = np.full((1, 4), value, np.float32)
        rows = embeddings.scenario_rows(
            SCENARIO, "v1", ["u"], vectors, as_of + timedelta(days=day), created + timedelta(hours=hours)
        )
        write_partition(str(tmp_path), DS + timedelta(days=day), rows, file_name(0, generation))
    users = pa.table({"user_id": ["u"]})
    newest = embeddings.read_newest(str(tmp_path), 0, users)
    assert newest["lapse_embedding"].to_pylist() == [[2.0] * 4]
    corrected = embeddings.read_newest(str(tmp_path), 0, users, DS)
    assert corrected["lapse_embedding"].to_pylist() == [[3.0] * 4]
    assert embeddings.read_newest(str(tmp_path / "nowhere"), 0, users).num_rows == 0


def ids(*numbers: int) -> pa.Array:
    return pa.array([bytes([number]) * 16 for number in numbers], pa.binary(16))


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.float16)[:, None] * np.ones(3, np.float16)


@pytest.mark.parametrize("remote", [False, True])
def test_text_vectors_come_back_in_the_order_asked(tmp_path: Path, remote: bool) -> None:
    root = f"memory://{tmp_path.name}" if remote else str(tmp_path)
    vectors, other = TextVectors(root), TextVectors(root)
    assert vectors.gather(ids()).shape == (0, 0)
    vectors.append(ids(3, 1).to_pylist(), rows(3, 1))
    # Two processes may encode the same texts; a known text in a later segment changes nothing.
    other.append(ids(1, 3).to_pylist(), rows(1, 3))
    other.append(ids(1, 2).to_pylist(), rows(1, 2))
    vectors.refresh()
    for reader in (vectors, other, TextVectors(root)):
        np.testing.assert_array_equal(reader.gather(ids(2, 3, 1, 2)), rows(2, 3, 1, 2))
        assert reader.unknown(ids(1, 9)).to_pylist() == [False, True]
        with pytest.raises(KeyError, match=(b"\x09" * 16).hex()):
            reader.gather(ids(1, 9))
