"""Runs on a state in a bucket that are killed at their writes, and run again, leave the bytes of a directory."""

from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.deployment import NOW, Deployment, tree, write_config
from tests.processes import Outcome, fork_updater
from tests.state_objects import DATA, DATABASES, objects
from tests.strategies import TOUR
from updater.pipeline.monitor.verify import verify
from updater.runtime.crash_points import POINTS, VARIABLE
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
