"""The state in an S3 bucket: the same bytes under the same names as in a directory."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.deployment import NOW, PROFILES, Deployment, tree, write_config
from tests.factories import land_rows, utc
from tests.s3_proxy import Fault, proxy_of
from tests.s3_server import S3Server, environment
from tests.state_objects import DATA, DATABASES, objects
from tests.strategies import TOUR
from updater.errors import ConfigError
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.dry_run import plan_window
from updater.pipeline.init import initialize
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.run import restate_range
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.store.access import historical_rows
from updater.store.repository.connecting import open_store
from updater.training.profile.run import train_updater

INSTANTS = ["2024-04-01", "2024-04-03", "2024-04-05", "2024-03-01"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of other tests are not found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def in_bucket(root: Path, bucket: str, **overrides: Any) -> Deployment:
    made = Deployment.create(root, paths={"state": f"s3://{bucket}/state"}, **DATABASES, **PROFILES, **overrides)
    TOUR.land(made.lake)
    return made


def test_a_bucket_holds_the_bytes_of_a_directory(tmp_path: Path, s3_bucket: str) -> None:
    local = Deployment.create(tmp_path / "local", buffer={"num_buckets": 2}, **PROFILES)
    TOUR.land(local.lake)
    local.run(TOUR.windows)
    made = in_bucket(tmp_path / "remote", s3_bucket, buffer={"num_buckets": 2})
    made.run(TOUR.windows[:-1])
    planned = plan_window(made.context, TOUR.windows[-1])
    (report,) = made.run(TOUR.windows[-1:])
    assert (planned.changed_users, planned.prefixes) == (report.changed_users, report.prefixes)
    assert objects(s3_bucket) == tree(local.state, DATA)
    assert verify(made.context, None).differences == []
    assert verify(made.context, 20).differences == []
    shown = status(made.context, check=True)
    assert (shown.watermark, shown.unfinished, shown.rewritten) == (str(TOUR.windows[-1]), [], [])
    assert shown.sizes == status(local.context).sizes
    assert shown.health is not None and shown.health.mismatch_share == 0
    wanted = pd.DataFrame({"user_id": ["ann", "Ann", "bø", "ann"], "event_timestamp": pd.to_datetime(INSTANTS)})
    features = ["lapse_v1:lapse_embedding", "lapse_v1:lapse_as_of", "modality_summaries:bill_num_events"]
    features += ["user_text_profile_v1:profile_text"]
    found, expected = (historical_rows(open_store(made.settings), wanted, features) for made in (made, local))
    assert found["lapse_embedding"].notna().sum() == 3
    pd.testing.assert_frame_equal(found, expected)


def test_processes_and_a_restatement_leave_the_bytes_of_a_directory(tmp_path: Path, s3_bucket: str) -> None:
    days, rewritten = TOUR.windows[:4], TOUR.windows[2]
    local = Deployment.create(tmp_path / "local", buffer={"num_buckets": 2}, **PROFILES)
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
    assert made.embed("ann", "Will this user order tea?") == local.embed("ann", "Will this user order tea?")


@pytest.mark.campaign
def test_faults_of_the_network_leave_no_trace(tmp_path: Path, s3_server: S3Server, s3_bucket: str) -> None:
    local = Deployment.create(tmp_path / "local", **PROFILES)
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
        assert min(proxy.faults[kind] for kind in kinds) >= 1
        assert proxy.faults.total() >= 30
    assert objects(s3_bucket) == tree(local.state, DATA)


def test_what_does_not_work_in_a_bucket_is_refused_in_a_sentence(tmp_path: Path, s3_bucket: str) -> None:
    made = in_bucket(tmp_path, s3_bucket)
    made.run(TOUR.windows[:1])
    context = made.context
    before = objects(s3_bucket)
    with pytest.raises(ConfigError, match=r"Training an updater of profiles.*directory.*docs/operations.md"):
        train_updater(context)
    assert objects(s3_bucket) == before


@pytest.mark.parametrize(
    ("state", "environ", "online", "said"),
    [
        ("gs://bucket/state", True, "online.db", "a state lies in a directory, or at s3://bucket/prefix"),
        ("s3://bucket/state", False, "online.db", r"\$AWS_ACCESS_KEY_ID is not set"),
        ("s3://bucket/state", True, None, "where no SQLite file can lie"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, environ: bool, online: str | None, said: str
) -> None:
    for name in environment(1):
        monkeypatch.delenv(name, raising=False)
        if environ:
            monkeypatch.setenv(name, environment(1)[name])
    tables = {**DATABASES, "online_store": {"path": online} if online else {"type": "sqlite"}}
    settings = load_settings(write_config(tmp_path, paths={"state": state}, **tables), environ={})
    with pytest.raises(ConfigError, match=said):
        initialize(settings)
    assert [path.name for path in tmp_path.iterdir()] == ["updater.toml"]


def test_without_its_client_a_bucket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("updater.locations._has_client", lambda: False)
    settings = load_settings(write_config(tmp_path, paths={"state": "s3://bucket/state"}, **DATABASES), environ={})
    with pytest.raises(ConfigError, match=r"pip install 'updater\[s3\]'"):
        initialize(settings)
