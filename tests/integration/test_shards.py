"""A state of several shards publishes what a state of one does, and reads and rewrites the files of one at a time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.deployment import PROFILES, Deployment
from tests.factories import land_rows
from tests.strategies import COLUMNS, TOUR
from updater.domain.buckets import bucket_of
from updater.errors import ConfigError
from updater.pipeline.compact.run import maintain
from updater.pipeline.daily.dry_run import plan_window
from updater.pipeline.erase.run import erase
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.run import restate_range
from updater.pipeline.steps import bucket_groups
from updater.runtime.deployment import open_context
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings

BUCKETS, SHARDS = 4, 2
NOON = datetime.combine(TOUR.windows[-2], time(12), UTC)


@pytest.fixture
def sharded(tmp_path: Path) -> Deployment:
    made = Deployment.create(tmp_path / "shards", buffer={"num_buckets": BUCKETS, "num_shards": SHARDS}, **PROFILES)
    TOUR.land(made.lake)
    return made


def differences(made: Deployment) -> Any:
    return verify(made.context, None).differences


def event_files(made: Deployment) -> dict[str, bytes]:
    root = made.state / "events"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


def test_a_life_in_shards(sharded: Deployment, tmp_path: Path) -> None:
    plain = Deployment.create(tmp_path / "plain", buffer={"num_buckets": BUCKETS}, **PROFILES)
    TOUR.land(plain.lake)
    *before, last = TOUR.windows
    for made in (plain, sharded):
        made.run(before)
    plans = [replace(plan_window(made.context, last), estimated_seconds=None) for made in (sharded, plain)]
    assert plans[0] == plans[1]
    assert sharded.run([last])[0].changed_users == plain.run([last])[0].changed_users
    assert sharded.published() == plain.published()
    groups = [bucket_groups(str(last), 2, config=str(made.settings.source)) for made in (plain, sharded)]
    assert groups[0] == groups[1]

    for path in (sharded.state / "events").rglob("*.parquet"):
        shard = int(path.name.split("-")[1])
        buckets = pq.ParquetFile(path).read(columns=["bucket"])["bucket"].to_pylist()
        assert buckets == sorted(buckets)
        assert all(bucket // (BUCKETS // SHARDS) == shard for bucket in buckets)
    assert differences(sharded) == []

    # A restatement, then maintenance after it.
    rows = [{**TOUR.landings[1]["bill"][0].values(), "user_id": "late", "event_time": NOON}]
    for made in (plain, sharded):
        land_rows(made.lake, "bill", before[-1], rows, columns=COLUMNS, name="part-001.parquet")
        with ProcessPool(made.settings, made.now) as pool:
            assert restate_range(made.context, pool, before[-1], last)["users"] == 1
        maintain(made.context)
    assert sharded.published() == plain.published()
    assert differences(sharded) == []


def test_an_erasure_rewrites_the_files_of_one_shard(sharded: Deployment) -> None:
    sharded.run(TOUR.windows)
    user = TOUR.landings[1]["bill"][0].user_id
    shard = bucket_of(user, BUCKETS) // (BUCKETS // SHARDS)
    before = event_files(sharded)
    assert erase(sharded.context, [user]).files_rewritten
    after = event_files(sharded)
    changed = {path.rpartition("/")[2].split("-")[1] for path, _ in before.items() ^ after.items()}
    assert changed == {f"{shard:03d}"}
    assert differences(sharded) == []
    for path in sharded.state.rglob("*.parquet"):
        table = pq.ParquetFile(path).read()
        assert "user_id" not in table.column_names or user not in table["user_id"].to_pylist(), path
    assert erase(sharded.context, [user]).rows == 0


def test_a_first_window_after_an_erasure_and_a_day_without_rows(sharded: Deployment) -> None:
    user = TOUR.landings[1]["bill"][0].user_id
    erase(sharded.context, [user])
    empty = TOUR.windows[-1] + timedelta(days=1)
    for name in TOUR.landings[0]:
        land_rows(sharded.lake, name, empty, [], columns=COLUMNS)
    sharded.run([*TOUR.windows, empty])
    assert differences(sharded) == []


def test_shards_are_fixed_with_the_state(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings()
    assert "buffer.num_shards" not in initialize(settings).fixed
    with pytest.raises(ConfigError, match=r"buffer.num_shards is '2' .* made with '1'"):
        open_context(make_settings(buffer={"num_shards": 2}))
    made = Deployment.create(tmp_path / "two", buffer={"num_buckets": BUCKETS, "num_shards": SHARDS})
    with pytest.raises(ConfigError, match=r"buffer.num_shards is '1' .* made with '2'"):
        open_context(load_settings(made.settings.source, environ={"UPDATER_BUFFER__NUM_SHARDS": "1"}))
