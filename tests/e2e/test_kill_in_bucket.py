"""Runs on a state in a bucket that are killed at their writes, and run again, leave the bytes of a directory."""

from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.deployment import NOW, Deployment, tree, write_config
from tests.integration.test_erase import CONFIG, GONE, land
from tests.processes import Outcome, fork_updater
from tests.s3_server import S3Server
from tests.state_objects import DATA, DATABASES, objects
from tests.strategies import TOUR
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.runtime.crash_points import ERASURE_WRITES, POINTS, VARIABLE
from updater.settings import load_settings

pytestmark = pytest.mark.slow

SOME = ("after:events", "after:texts", "before:head", "after:head", "after:placed", "after:materialized")
ALL = pytest.param(POINTS, marks=pytest.mark.campaign)


@pytest.mark.parametrize("points", [SOME, ALL], ids=["some", "all"])
def test_killed_runs_leave_the_bytes_of_a_directory(
    tmp_path: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, points: Sequence[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    days = TOUR.windows[:3] if len(points) < len(POINTS) else TOUR.windows
    local = Deployment.create(tmp_path / "local")
    TOUR.land(local.lake)
    local.run(days)
    config = str(write_config(tmp_path / "remote", paths={"state": f"s3://{s3_bucket}/state"}, **DATABASES))
    made = Deployment(load_settings(config, environ={}))
    TOUR.land(made.lake)

    def call(*args: str, **env: str) -> Outcome:
        return fork_updater(*args, "--config", config, env={"SOURCE_DATE_EPOCH": str(int(NOW.timestamp())), **env})

    assert call("init").exit_code == 0
    killed = []
    for number, ds in enumerate(days):
        for point in points[number :: len(days)]:
            outcome = call("run", "--ds", str(ds), **{VARIABLE: point})
            assert outcome.exit_code in (0, -SIGKILL), outcome.stderr
            killed += [point] if outcome.exit_code else []
        outcome = call("run", "--ds", str(ds))
        assert outcome.exit_code == 0, outcome.stderr
    assert len(killed) > len(points) // 2, killed
    assert objects(s3_bucket) == tree(local.state, DATA)
    assert verify(made.context, None).differences == []


@pytest.mark.campaign
def test_an_erasure_that_is_killed_at_its_writes_one_after_another(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bucket, days = s3_server.bucket(versions=True), TOUR.windows[:3]
    local = Deployment.create(tmp_path / "local", **CONFIG)
    database = {"url": postgres_url}
    remote = {"ledger": database, "registry": database, "online_store": DATABASES["online_store"]}
    config = write_config(tmp_path / "remote", paths={"state": f"s3://{bucket}/state"}, **CONFIG, **remote)
    made = Deployment(load_settings(config, environ={}))
    initialize(made.settings)
    for deployment in (local, made):
        land(deployment.lake)
        deployment.run(days)
    erase(local.context, [GONE])

    def call(**env: str) -> Outcome:
        return fork_updater("user", "erase", "--user-id", GONE, "--config", str(config), env=env)

    killed = []
    for write in ERASURE_WRITES:
        for point in (f"before:{write}", f"after:{write}"):
            outcome = call(**{VARIABLE: point})
            assert outcome.exit_code in (0, -SIGKILL), outcome.stderr
            killed += [point] if outcome.exit_code else []
    # No temporary file, no restatement and nothing staged is here to be rewritten.
    unreached = {"placed", "unstaged", "leftover", "plan_without"}
    assert {point.partition(":")[2] for point in killed} == set(ERASURE_WRITES) - unreached
    assert call().exit_code == 0
    assert find(made.context, [GONE]).places == []
    assert objects(bucket) == tree(local.state, DATA)
    assert verify(made.context, None).differences == []
