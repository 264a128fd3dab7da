"""A disk without room: a window that cannot write says so in one sentence; with room it ends as if nothing had been."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import PROFILES, Deployment
from tests.e2e.saved_state import SavedState
from tests.processes import ROOT
from tests.strategies import TOUR

pytestmark = pytest.mark.slow

CLOCK = "1717200000"


class Scene(SavedState):
    """A state after its first window, which can be put back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, CLOCK, buffer={"num_buckets": 2}, **PROFILES)
        TOUR.land(self.settings.paths.lake)
        for arguments in (("init",), ("run", "--ds", str(TOUR.windows[0]))):
            assert self.call(*arguments).exit_code == 0
        self.save()

    def next_window(self) -> dict[str, Any]:
        """Run the second window. Returns all that a reader can see."""
        done = self.call("run", "--ds", str(TOUR.windows[1]))
        assert (done.exit_code, done.stderr) == (0, "")
        return {"files": Deployment(self.settings).published(), "online": self.online()}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> dict[str, Any]:
    scene.restore()
    return scene.next_window()


# No file may grow beyond so many bytes: ledger and logs, small files of the state, the online store.
@pytest.mark.parametrize("room", [0, 4_000, 20_000])
def test_a_window_without_room_and_then_with_room(scene: Scene, undisturbed: dict[str, Any], room: int) -> None:
    scene.restore()
    command = [sys.executable, "-m", "updater.cli", "run", "--ds", str(TOUR.windows[1]), "--config", scene.config]
    failed = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "SOURCE_DATE_EPOCH": CLOCK},
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        check=False,
    )
    assert failed.returncode > 0 and failed.stdout == ""
    assert failed.stderr.startswith("updater: ") and "Traceback" not in failed.stderr
    assert scene.next_window() == undisturbed
