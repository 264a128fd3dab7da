"""The state in an S3 bucket: the same bytes under the same names as in a directory."""

from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.deployment import NOW, Deployment, tree
from tests.factories import land_rows, utc
from tests.s3_proxy import Fault, proxy_of
from tests.s3_server import S3Server, environment
from tests.strategies import TOUR
from updater.objects.filesystem import objects_at
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.run import restate_range
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.store.access import historical_rows
from updater.store.connecting import open_store

DATA = ("changes", "events", "models", "offline", "rejected", "staged", "summaries", "texts")
INSTANTS = ["2024-04-01", "2024-04-03", "2024-04-05", "2024-03-01"]
DATABASES: dict[str, Any] = {
    "ledger": {"url": "sqlite:///ledger.db"},
    "registry": {"url": "sqlite:///registry.db"},
    "online_store": {"path": "online.db"},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of other tests are not found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def in_bucket(root: Path, bucket: str, **overrides: Any) -> Deployment:
    made = Deployment.create(root, paths={"state": f"s3://{bucket}/state"}, **DATABASES, **overrides)
    TOUR.land(made.lake)
    return made


def objects(bucket: str) -> dict[str, str]:
    """Digest of every object of the state, by name."""
    store, root = objects_at(f"s3://{bucket}/state")
    names = (name for name in store.list(root) if name.split("/")[1] in DATA)
    return {name.partition("/")[2]: sha256(store.get(name).content).hexdigest() for name in names}


def test_a_bucket_holds_the_bytes_of_a_directory(tmp_path: Path, s3_bucket: str) -> None:
    local = Deployment.create(tmp_path / "local", buffer={"num_buckets": 2})
    TOUR.land(local.lake)
    local.run(TOUR.windows)
    made = in_bucket(tmp_path / "remote", s3_bucket, buffer={"num_buckets": 2})
    made.run(TOUR.windows)
    assert objects(s3_bucket) == tree(local.state, DATA)
    assert verify(made.context, None).differences == []
    assert verify(made.context, 20).differences == []
    report = status(made.context, check=True)
    assert (report.watermark, report.unfinished, report.rewritten) == (str(TOUR.windows[-1]), [], [])
    assert report.sizes == status(local.context).sizes
    assert report.health is not None and report.health.mismatch_share == 0
    wanted = pd.DataFrame({"user_id": ["ann", "Ann", "bø", "ann"], "event_timestamp": pd.to_datetime(INSTANTS)})
    features = ["lapse_v1:lapse_embedding", "lapse_v1:lapse_as_of", "modality_summaries:bill_num_events"]
    found, expected = (historical_rows(open_store(made.settings), wanted, features) for made in (made, local))
    assert found["lapse_embedding"].notna().sum() == 3
    pd.testing.assert_frame_equal(found, expected)


def test_processes_and_a_restatement_leave_the_bytes_of_a_directory(tmp_path: Path, s3_bucket: str) -> None:
    days, rewritten = TOUR.windows[:4], TOUR.windows[2]
    local = Deployment.create(tmp_path / "local", buffer={"num_buckets": 2})
    made = in_bucket(tmp_path / "remote", s3_bucket, buffer={"num_buckets": 2}, run={"processes": 2})
    TOUR.land(local.lake)
    for deployment in (local, made):
        context = deployment.context
        with ProcessPool(deployment.settings, context.now) as pool:
            backfill(context, pool, days[0], days[-1])
            row = {"user_id": "ann", "event_id": "s-new", "event_time": utc(f"{rewritten} 10:00"), "word": "rice"}
            land_rows(deployment.lake, "search", rewritten, [row])
            context = open_writable(deployment.settings, NOW + timedelta(hours=1))
            assert restate_range(context, pool, rewritten, rewritten)["users"] > 0
    assert objects(s3_bucket) == tree(local.state, DATA)
    assert verify(made.context, None).differences == []


def test_faults_of_the_network_leave_no_trace(tmp_path: Path, s3_server: S3Server, s3_bucket: str) -> None:
    local = Deployment.create(tmp_path / "local")
    TOUR.land(local.lake)
    local.run(TOUR.windows[:3])
    with proxy_of(s3_server.port) as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(proxy.port).items():
            patch.setenv(name, value)
        kinds: tuple[Fault, ...] = ("503", "cut", "lost")
        proxy.plan_every(lambda number: kinds[number // 7 % 3] if number % 7 == 0 else None)
        made = in_bucket(tmp_path / "remote", s3_bucket)
        made.run(TOUR.windows[:3])
        assert verify(made.context, None).differences == []
        assert min(proxy.faults[kind] for kind in kinds) >= 5
    assert objects(s3_bucket) == tree(local.state, DATA)
