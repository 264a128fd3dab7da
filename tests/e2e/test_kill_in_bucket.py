"""Runs on a state in a bucket that are killed at their writes, and run again, leave the bytes of a directory."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.deployment import NOW, PROFILES, Deployment, tree, write_config
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
    local = Deployment.create(tmp_path / "local", **PROFILES)
    TOUR.land(local.lake)
    local.run(days)
    paths = {"state": f"s3://{s3_bucket}/state"}
    config = str(write_config(tmp_path / "remote", paths=paths, **DATABASES, **PROFILES))
    made = Deployment(load_settings(config, environ={}))
    TOUR.land(made.lake)

    def call(*args: str, **env: str) -> Outcome:
        return fork_updater(*args, "--config", config, env={"SOURCE_DATE_EPOCH": str(int(NOW.timestamp())), **env})

    assert call("init").exit_code == 0
    left, each_day = deque(points), len(points) // len(days) + 1
    for ds in days:
        for _ in range(min(each_day, len(left))):
            outcome = call("run", "--ds", str(ds), **{VARIABLE: left[0]})
            assert outcome.exit_code in (0, -SIGKILL), outcome.stderr
            if not outcome.exit_code:
                # The day is done without that write: it waits for another day.
                left.rotate(-1)
                break
            left.popleft()
        outcome = call("run", "--ds", str(ds))
        assert outcome.exit_code == 0, outcome.stderr
    assert len(left) < len(points) // 2, left
    assert objects(s3_bucket) == tree(local.state, DATA)
    assert verify(made.context, None).differences == []
