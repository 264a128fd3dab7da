"""A run that is killed at any of its writes, and run again, publishes the bytes of a run that nobody disturbed."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.deployment import Deployment
from tests.e2e.saved_state import SavedState
from tests.factories import land_rows
from tests.processes import run_updater, start_updater
from tests.strategies import COLUMNS, TOUR
from updater.runtime.crash_points import POINTS, VARIABLE, WRITES

pytestmark = pytest.mark.slow

# Two buckets, so that a run can die between them. What is published carries the clock of a window's first attempt.
CLOCK = "1717200000"
AN_HOUR_LATER = "1717203600"
CONFIG: dict[str, Any] = {
    "buffer": {"num_buckets": 2},
    "limits": {"max_rejected_share": 0.5},
    "profile": {"enabled": True},
}
FIRST, DAY, LAST = TOUR.windows[0], TOUR.windows[3], TOUR.windows[-1]
REJECTED = {"user_id": "ann", "event_id": None, "event_time": TOUR.landings[1]["bill"][0].event_time}


class Scene(SavedState):
    """A state that stands before DAY, which can be put back, and what an undisturbed run makes of it."""

    def __init__(self, root: Path, **config: Any) -> None:
        super().__init__(root, CLOCK, **{**CONFIG, **config})
        TOUR.land(self.settings.paths.lake)
        # Rows of another file: a row that is rejected, and texts that nobody has seen.
        for name, ds in (("bill", DAY), ("search", DAY), ("bill", FIRST)):
            seen = TOUR.landings[1]["bill"][0].values()
            rows = [REJECTED, {**seen, "user_id": f"new {name}", "word": "rice"}, {**seen, "user_id": "u7"}]
            land_rows(self.settings.paths.lake, name, ds, rows, columns=COLUMNS, name="part-001.parquet")
        assert self.call("init").exit_code == 0

    def published(self) -> dict[str, Any]:
        """All that a reader can see, and all that must not be there twice."""
        deployment = Deployment(self.settings)
        ids = deployment.text_ids()
        assert len(ids) == len(set(ids))
        rejected = {str(path): path.read_bytes() for path in sorted((self.state / "rejected").rglob("*.parquet"))}
        assert not list((self.state / "staged").rglob("*"))
        return {"files": deployment.published(), "online": self.online(), "texts": sorted(ids), "rejected": rejected}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Everything up to the day before DAY is done."""
    scene = Scene(tmp_path_factory.mktemp("kill"))
    assert scene.call("backfill", "--from-date", str(FIRST), "--to-date", str(TOUR.windows[2])).exit_code == 0
    scene.save()
    yield scene


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The same in shards."""
    scene = Scene(tmp_path_factory.mktemp("kill_sharded"), buffer={"num_buckets": 2, "num_shards": 2})
    assert scene.call("backfill", "--from-date", str(FIRST), "--to-date", str(TOUR.windows[2])).exit_code == 0
    scene.save()
    return scene


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> dict[str, Any]:
    scene.restore()
    assert scene.call("run", "--ds", str(DAY)).exit_code == 0
    return scene.published()


@pytest.fixture(scope="module")
def undisturbed_shards(sharded: Scene) -> dict[str, Any]:
    assert sharded.call("run", "--ds", str(DAY)).exit_code == 0
    return sharded.published()


# The points before the writes are walked by the test that follows; with two buckets and five views most writes recur.
@pytest.mark.parametrize(
    "point", [*(point for point in POINTS if point.startswith("after:")), "before:placed:2", "after:head:2"]
)
def test_a_day_killed_at_any_point(scene: Scene, undisturbed: dict[str, Any], point: str) -> None:
    scene.restore()
    assert scene.call("run", "--ds", str(DAY), **{VARIABLE: point}).exit_code == -SIGKILL
    again = scene.call("run", "--ds", str(DAY), "--json", SOURCE_DATE_EPOCH=AN_HOUR_LATER)
    assert (again.exit_code, again.stderr) == (0, "")
    assert scene.published() == undisturbed


# A shard is a bucket here, so that a run can die with the files of one of two written.
@pytest.mark.parametrize(
    "point",
    [
        "after:events",
        "after:changes",
        pytest.param("after:changes:4", marks=pytest.mark.campaign),
        pytest.param("after:partition", marks=pytest.mark.campaign),
        pytest.param("after:head", marks=pytest.mark.campaign),
    ],
)
def test_a_day_in_shards_killed_at_any_point(sharded: Scene, undisturbed_shards: dict[str, Any], point: str) -> None:
    test_a_day_killed_at_any_point(sharded, undisturbed_shards, point)


@pytest.mark.campaign
def test_a_day_killed_again_and_again(scene: Scene, undisturbed: dict[str, Any]) -> None:
    scene.restore()
    for write in WRITES[1:]:
        killed = scene.call("run", "--ds", str(DAY), **{VARIABLE: f"before:{write}"})
        assert killed.exit_code in (-SIGKILL, 0), f"{write}: {killed.stderr}"
    assert scene.call("run", "--ds", str(DAY)).exit_code == 0
    assert scene.published() == undisturbed


# The fourth or the sixth head is that of ann's bucket on LAST - 2, a day whose summaries LAST builds on.
@pytest.mark.parametrize(
    "point",
    [
        "after:head:4",
        pytest.param("before:placed:3", marks=pytest.mark.campaign),
        pytest.param("after:head:6", marks=pytest.mark.campaign),
    ],
)
def test_a_backfill_killed_between_its_days(scene: Scene, undisturbed: dict[str, Any], point: str) -> None:
    scene.restore()
    for ds in TOUR.windows[3:]:
        assert scene.call("run", "--ds", str(ds)).exit_code == 0
    expected = scene.published()

    scene.restore()
    backfill = ("backfill", "--from-date", str(FIRST), "--to-date", str(LAST))
    assert scene.call(*backfill, **{VARIABLE: point}).exit_code == -SIGKILL
    check = scene.call("state", "verify", "--all", "--json")
    assert (check.exit_code, check.stderr) == (0, ""), "what is committed is whole although what follows is not"
    assert scene.call(*backfill).exit_code == 0
    assert scene.published() == expected


def test_attempts_at_the_same_time_do_not_disturb_each_other(scene: Scene) -> None:
    backfill = ("backfill", "--from-date", str(FIRST), "--to-date", str(LAST))
    scene.restore()
    assert scene.call(*backfill).exit_code == 0
    expected = scene.published()
    for _ in range(2):
        scene.restore()
        with ThreadPoolExecutor(3) as threads:
            done = list(threads.map(lambda _: scene.call(*backfill), range(3)))
        assert [(one.exit_code, one.stderr) for one in done] == [(0, "")] * 3
        assert scene.published() == expected


def test_a_worker_process_that_is_killed(scene: Scene, undisturbed: dict[str, Any]) -> None:
    scene.restore()
    run = ("run", "--config", scene.config, "--ds", str(DAY))
    env = {"SOURCE_DATE_EPOCH": CLOCK, "UPDATER_RUN__PROCESSES": "2"}
    killed = run_updater(*run, env={**env, VARIABLE: "after:head"})
    assert killed.exit_code == 1
    assert killed.stdout == ""
    assert killed.stderr.startswith("updater: A worker process died") and killed.stderr.count("\n") == 1
    again = run_updater(*run, env=env)
    assert (again.exit_code, again.stderr) == (0, "")
    assert scene.published() == undisturbed


def test_worker_processes_do_not_outlive_a_run_that_is_killed(scene: Scene) -> None:
    scene.restore()
    env = {"SOURCE_DATE_EPOCH": CLOCK, "UPDATER_RUN__PROCESSES": "2", VARIABLE: "before:materialized"}
    process = start_updater("run", "--config", scene.config, "--ds", str(DAY), env=env)
    process.wait(300)
    assert process.returncode == -SIGKILL
    deadline = time.monotonic() + 20
    while session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = session(process.pid)
    for pid in left:
        os.kill(pid, SIGKILL)
    process.communicate()
    assert not left


def session(number: int) -> list[int]:
    """Processes of a session, by Linux's /proc."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == number:
            found.append(int(directory.name))
    return found
