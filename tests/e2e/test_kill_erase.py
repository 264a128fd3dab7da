"""An erasure whose process is killed, and that is run again, leaves the bytes of one that nobody disturbed."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.deployment import Deployment, tree
from tests.e2e.saved_state import SavedState
from tests.factories import land_rows
from tests.processes import Outcome
from tests.strategies import COLUMNS, TOUR
from updater.domain.bucket_file_names import file_name
from updater.lake import partitions
from updater.runtime.crash_points import VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

CLOCK = "1717200000"
CONFIG: dict[str, Any] = {
    "buffer": {"num_buckets": 2},
    "limits": {"max_rejected_share": 0.5},
    "profile": {"enabled": True},
}
FIRST, LAST, NEXT = TOUR.windows[0], TOUR.windows[2], TOUR.windows[3]
GONE = "somebody @ nowhere"
IDS = "--user-id", GONE


class Scene(SavedState):
    """A state in which a user is in every place that an erasure writes to, and which can be put back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, CLOCK, **CONFIG)
        TOUR.land(self.settings.paths.lake)
        for number, ds in enumerate(TOUR.windows):
            for name in ("bill", "search"):
                self.land(name, ds, timedelta(days=number), 1.0)
        self.ok("init")
        self.ok("backfill", "--from-date", str(FIRST), "--to-date", str(LAST))
        self.unplace()
        self.land("bill", LAST, timedelta(days=2), 2.0)
        restate = "backfill", "--from-date", str(FIRST), "--to-date", str(LAST), "--restate"
        assert self.call(*restate, **{VARIABLE: "before:partition"}).exit_code == -SIGKILL
        (self.state / f"events/bill/.x.parquet.{'1' * 32}.tmp").write_bytes(b"PAR1")
        self.save()

    def land(self, name: str, ds: Any, later: timedelta, amount: float) -> None:
        """GONE buys something, and a row of theirs is refused."""
        seen = TOUR.landings[1]["bill"][0]
        row = {**seen.values(), "user_id": GONE, "event_time": seen.event_time + later, "amount": amount}
        rows = [row, {**row, "event_id": None}, {**row, "user_id": "somebody else", "amount": amount}]
        land_rows(self.settings.paths.lake, name, ds, rows, columns=COLUMNS, name="part-001.parquet")

    def unplace(self) -> None:
        """Put files that the newest heads name back into staging, as a run killed after its head leaves them."""
        for record in Deployment(self.settings).context.ledger.bucket_records(LAST):
            for name in record.files:
                view = name.partition("-")[2]
                root = self.state / ("summaries" if view == "summaries" else f"offline/{view}")
                placed = root / f"ds={LAST}" / file_name(record.bucket, 0)
                staged = self.state / "staged" / f"ds={LAST}" / f"bucket-{record.bucket:03d}" / name
                partitions.move(str(placed), str(staged))

    def ok(self, *args: str) -> Outcome:
        done = self.call(*args)
        assert (done.exit_code, done.stderr) == (0, ""), done
        return done

    def left(self) -> dict[str, Any]:
        """All that an erasure leaves, and that no id is in it."""
        proof = json.loads(self.ok("user", "erase", *IDS, "--verify", "--json").stdout)
        assert proof["places"] == []
        ledger = Deployment(self.settings).context.ledger
        return {
            "files": {
                path: digest for path, digest in tree(self.state).items() if not path.endswith(("db", "-wal", "-shm"))
            },
            "online": self.online(),
            "partitions": ledger.partitions(),
            "history": [record for bucket in range(2) for record in ledger.bucket_history(bucket)],
            "heads": ledger.heads(),
            # The salt, and so the hash, is another one in every ledger.
            "audit": [[*row.subject] for row in ledger.audit() if row.action == "erase"],
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("erase"))


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> dict[str, Any]:
    scene.restore()
    before = scene.call("user", "erase", *IDS, "--verify")
    assert before.exit_code == 6 and before.stderr.startswith("updater: The users are found in ")
    scene.ok("user", "erase", *IDS)
    return scene.left()


# All points are walked in one process by tests/integration/test_erase_killed.py.
@pytest.mark.parametrize("point", ["after:plan_without", "after:record_without", "after:file_without:3"])
def test_an_erasure_killed_at_a_point(scene: Scene, undisturbed: dict[str, Any], point: str) -> None:
    scene.restore()
    assert scene.call("user", "erase", *IDS, **{VARIABLE: point}).exit_code == -SIGKILL
    scene.ok("user", "erase", *IDS)
    assert scene.left() == undisturbed


def test_an_erasure_killed_again_and_again(scene: Scene, undisturbed: dict[str, Any]) -> None:
    scene.restore()
    for write in ("events_without", "other_without", "online_without"):
        assert scene.call("user", "erase", *IDS, **{VARIABLE: f"before:{write}"}).exit_code == -SIGKILL
    ids = scene.state.parent / "ids.txt"
    ids.write_text(f"\n{GONE}\r\n", encoding="utf-8")
    scene.ok("user", "erase", "--users-file", str(ids))
    assert scene.left() == undisturbed


def test_erasures_at_the_same_time_and_days_after_a_killed_one(scene: Scene, undisturbed: dict[str, Any]) -> None:
    scene.restore()
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: scene.call("user", "erase", *IDS), range(2)))
    assert [(one.exit_code, one.stderr) for one in done] == [(0, "")] * 2
    assert scene.left() == undisturbed

    scene.restore()
    assert scene.call("user", "erase", *IDS, **{VARIABLE: "after:erasure"}).exit_code == -SIGKILL
    # The user's rows are still in every file; what is computed from now on is without them.
    scene.ok("backfill", "--from-date", str(FIRST), "--to-date", str(LAST), "--restate")
    scene.ok("run", "--ds", str(NEXT))
    for path in (scene.state / "offline").rglob(f"ds={NEXT}/*.parquet"):
        assert GONE not in partitions.read_table(str(path))["user_id"].to_pylist()
    scene.ok("user", "erase", *IDS)
    assert json.loads(scene.ok("user", "erase", *IDS, "--verify", "--json").stdout)["places"] == []
    scene.ok("state", "verify", "--all")
