"""A maintenance whose process is killed, and that is run again, leads to the files of one that nobody disturbed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.deployment import tree
from tests.e2e.saved_state import SavedState
from tests.integration.test_compact import land
from updater.runtime.crash_points import VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

# A month that ends, of which days are merged at FIRST and removed at SECOND; January is dropped.
DAYS = [date(2023, 1, 31) + timedelta(days=number) for number in range(30)]
CONFIG: dict[str, Any] = {
    "buffer": {"num_buckets": 2},
    "retention": {"history_days": 1},
    "profile": {"enabled": True},
}
WINDOWS, FIRST, SECOND = "1717200000", "1717203600", "1717300000"
PARTS = ("events", "summaries", "offline", "texts", "changes", "rejected")


class Scene(SavedState):
    """A state before its first maintenance, which can be put back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, WINDOWS, **CONFIG)
        for ds in DAYS:
            land(self.settings.paths.lake, ds)
        for arguments in (("init",), ("backfill", "--from-date", str(DAYS[0]), "--to-date", str(DAYS[-1]))):
            done = self.call(*arguments)
            assert done.exit_code == 0, done.stderr
        self.save()

    def maintain(self, clock: str, **env: str) -> int:
        return self.call("state", "compact", "--json", SOURCE_DATE_EPOCH=clock, **env).exit_code

    def outcome(self) -> dict[str, Any]:
        """All files, and what the ledger says of events."""
        with closing(sqlite3.connect(self.state / "ledger.db")) as connection:
            named = connection.execute(
                "select modality, ds, events_file from ledger_partitions order by 1, 2"
            ).fetchall()
            reach = connection.execute("select ds from ledger_reach").fetchall()
        files = tree(self.state, PARTS)
        assert not [path for path in files if path.endswith(".tmp")]
        return {"files": files, "named": named, "reach": reach}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield Scene(tmp_path_factory.mktemp("kill"))


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> dict[str, Any]:
    scene.restore()
    assert scene.maintain(FIRST) == 0
    assert scene.maintain(SECOND) == 0
    assert scene.call("state", "verify", "--all").exit_code == 0
    found = scene.outcome()
    assert len(found["files"]) < len(tree(scene.saved, PARTS)) / 3
    return found


# Every point is walked in one process by tests/integration/test_compact.py.
@pytest.mark.parametrize("point", ["after:merged_events", "before:swapped:2", "after:removed:3"])
def test_a_maintenance_that_is_killed(scene: Scene, undisturbed: dict[str, Any], point: str) -> None:
    scene.restore()
    ends = []
    for clock in (FIRST, SECOND):
        ends.append(scene.maintain(clock, **{VARIABLE: point}))
        if ends[-1] != 0:
            assert scene.maintain(clock) == 0
    assert -SIGKILL in ends
    assert scene.outcome() == undisturbed
