"""The batch engine opens only what it needs, writes only the newest rows, and survives being killed."""

import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT, SettingsFactory
from tests.integration.store_helpers import (
    CREATED,
    DIM,
    FEATURES,
    VIEW,
    later,
    vectors,
    window,
    write_lapse,
    write_rows,
)
from updater.settings import Settings

# ibis calls a name that duckdb has renamed; both still work.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")


def _lapse_table(settings: Settings) -> list[tuple[Any, ...]]:
    with sqlite3.connect(settings.online_store.options["path"]) as connection:
        return connection.execute("SELECT * FROM updater_lapse_v1 ORDER BY entity_key, feature_name").fetchall()


def test_only_partitions_that_can_hold_the_window_are_opened(make_settings: SettingsFactory) -> None:
    from updater import store

    settings = make_settings()
    store.apply(settings)
    opened = store.open_store(settings)
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    for day in ("2024-02-27", "2024-02-29", "2024-03-28", "2023-02-28"):
        path = Path(settings.paths.state) / "offline" / VIEW / f"ds={day}" / "bucket-000.parquet"
        path.parent.mkdir()
        path.write_bytes(b"this is no Parquet file")
    assert store.materialize(opened, at, [VIEW]) == {VIEW: 1}
    with pytest.raises(pa.ArrowInvalid):
        store.materialize(opened, window("2024-02-29"), [VIEW])


@pytest.mark.parametrize("timezone", ["Pacific/Kiritimati", "Asia/Shanghai", "America/New_York", "Etc/GMT+12"])
def test_windows_of_any_timezone_are_found(timezone: str, make_settings: SettingsFactory) -> None:
    from updater import store

    settings = make_settings(timezone=timezone)
    store.apply(settings)
    opened = store.open_store(settings)
    days = ("2024-03-09", "2024-03-10", "2024-03-11")
    for at in [write_lapse(settings, day, [day], vectors(1, seed=1)) for day in days]:
        assert store.materialize(opened, at, [VIEW]) == {VIEW: 1}, at
    served = store.online_rows(opened, ["2024-03-10"], FEATURES)
    assert served["lapse_as_of"] == [int(window("2024-03-10", timezone).as_of.timestamp())]


@pytest.mark.parametrize("small", [0, 2**20], ids=["read twice", "read once"])
def test_of_several_rows_the_newest_is_written_in_bounded_batches(
    small: int, make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from updater import store
    from updater.store.online_sqlite import GuardedSqliteOnlineStore

    monkeypatch.setattr("updater.store.daily_files.SMALL_BYTES", small)
    settings = make_settings()
    store.apply(settings)
    opened = store.open_store(settings)
    opened.config.materialization_config.online_write_batch_size = 7
    users = [f"user {i}" for i in range(30)]
    write_lapse(settings, "2024-02-28", users, vectors(30, seed=1), created=later(CREATED, 1), version="second")
    write_lapse(settings, "2024-02-28", users[:9], vectors(9, seed=2), name="bucket-001.parquet", version="first")
    write_lapse(settings, "2024-02-27", users, vectors(30, seed=3), created=later(CREATED, 2), version="older")
    write_lapse(settings, "2024-02-27", ["gone"], vectors(1, seed=3), name="bucket-001.parquet", version="older")

    batches: list[int] = []
    write = GuardedSqliteOnlineStore.write_online_rows

    def counted(self: Any, config: Any, table: Any, features: Any, rows: Any) -> None:
        batches.append(len(rows))
        write(self, config, table, features, rows)

    monkeypatch.setattr(GuardedSqliteOnlineStore, "write_online_rows", counted)
    opened.materialize(window("2024-02-27").as_of, window("2024-02-28").as_of, feature_views=[VIEW])

    assert batches == [7, 7, 7, 7, 3]
    served = store.online_rows(opened, [*users, "gone"], FEATURES)
    assert served["lapse_model_version"] == ["second"] * 30 + ["older"]
    assert np.array_equal(np.array(served["lapse_embedding"][:30], "f4"), vectors(30, seed=1))


@pytest.mark.parametrize("small", [0, 2**20], ids=["read twice", "read once"])
def test_a_column_that_an_older_day_lacks_reads_as_null(
    small: int, make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from updater import store

    monkeypatch.setattr("updater.store.daily_files.SMALL_BYTES", small)

    def rows(user: str, **more: pa.Array) -> dict[str, pa.Array]:
        return {"user_id": pa.array([user]), "bill_num_events": pa.array([1], pa.int64()), **more}

    settings = make_settings()
    store.apply(settings)
    opened = store.open_store(settings)
    names = [feature.name for feature in opened.get_feature_view("modality_summaries").features]
    others = [name for name in names if name not in ("bill_num_events", "prefix_fingerprint")]
    nulls = {name: pa.array([None], pa.int64()) for name in others}
    write_rows(settings, "modality_summaries", window("2024-02-27"), rows("a"))
    new = {**nulls, "prefix_fingerprint": pa.array(["f"])}
    write_rows(settings, "modality_summaries", window("2024-02-28"), rows("b", **new))
    start, end = window("2024-02-27").as_of, window("2024-02-28").as_of
    opened.materialize(start, end, feature_views=["modality_summaries"])
    served = store.online_rows(
        opened, ["a", "b"], ["modality_summaries:bill_num_events", "modality_summaries:prefix_fingerprint"]
    )
    assert served["bill_num_events"] == [1, 1]
    assert served["prefix_fingerprint"] == [None, "f"]


def test_a_view_that_is_not_ours_is_left_to_feast(make_settings: SettingsFactory) -> None:
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Array, Float32, String

    from updater import store

    settings = make_settings()
    store.apply(settings)
    opened = store.open_store(settings)
    write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1), name="elsewhere.parquet")
    source = FileSource(
        name="theirs_source",
        path=f"{settings.paths.state}/offline/{VIEW}",
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    fields = [Field(name="user_id", dtype=String), Field(name="lapse_embedding", dtype=Array(Float32))]
    opened.apply([user, FeatureView(name="theirs", entities=[user], schema=fields, source=source)])
    opened.materialize(datetime(2024, 1, 1), datetime(2024, 12, 31), feature_views=["theirs"])
    assert len(store.online_rows(opened, ["a"], ["theirs:lapse_embedding"])["lapse_embedding"][0]) == DIM
    assert opened.provider.batch_engine.num_rows == {}


def test_state_may_be_an_object_store() -> None:
    import fsspec

    from updater.store.daily_files import DailyFiles

    fs = fsspec.filesystem("memory")
    at = window("2024-02-28")
    naive = [at.as_of.replace(tzinfo=None)] * 2
    table = pa.table({"user_id": ["a", "b"], "x": [1, 2], "event_timestamp": naive, "created_timestamp": naive})
    for name in ("bucket-000.parquet", ".bucket-001.parquet", "_SUCCESS"):
        with fs.open(f"/state/offline/v/ds=2024-02-28/{name}", "wb") as file:
            pq.write_table(table, file)
    files = DailyFiles("memory://state/offline/v", "user_id", "event_timestamp", "created_timestamp")
    try:
        batches = list(files.newest_rows(["x"], at.as_of, at.as_of, 10))
    finally:
        fs.rm("/state", recursive=True)
    assert [batch.column("x").to_pylist() for batch in batches] == [[1, 2]]


KILLED_AFTER_550_ROWS = """
import itertools, os, signal, sys
from updater import store
from updater.domain.window import day_window
from updater.settings import load_settings
from updater.store import online_sqlite
from datetime import date

settings = load_settings(sys.argv[1], environ={})
opened = store.open_store(settings)
opened.config.materialization_config.online_write_batch_size = 100
count, sort_key = itertools.count(), online_sqlite.sort_key

def sort_key_or_die(*stamps):
    if next(count) == 550:
        os.kill(os.getpid(), signal.SIGKILL)
    return sort_key(*stamps)

online_sqlite.sort_key = sort_key_or_die
store.materialize(opened, day_window(date(2024, 2, 28), "UTC"), ["lapse_v1"])
"""


def test_a_killed_materialization_is_completed_by_the_next(make_settings: SettingsFactory) -> None:
    from updater import store

    users = [f"user {i}" for i in range(1000)]
    killed, clean = make_settings("killed"), make_settings("clean")
    for settings in (killed, clean):
        store.apply(settings)
        store.materialize(settings, write_lapse(settings, "2024-02-27", users, vectors(1000, seed=1)), [VIEW])
        at = write_lapse(settings, "2024-02-28", users, vectors(1000, seed=2))
    before = _lapse_table(killed)
    store.materialize(clean, at, [VIEW])

    process = subprocess.run([sys.executable, "-c", KILLED_AFTER_550_ROWS, str(killed.source)], cwd=ROOT, check=False)
    assert process.returncode == -9
    half = _lapse_table(killed)
    changed = sum(one != other for one, other in zip(before, half, strict=True))
    assert changed == 500 * len(FEATURES)  # whole batches only; every row still has one version of all its features

    assert store.materialize(killed, at, [VIEW]) == {VIEW: 1000}
    assert _lapse_table(killed) == _lapse_table(clean)
    store.materialize(killed, at, [VIEW])
    assert _lapse_table(killed) == _lapse_table(clean)
