"""An erasure that ends at any of its writes, and is run again, leaves the bytes of one that nobody disturbed.

The ends are errors that nothing catches; tests/e2e/test_kill_erase.py kills processes at a few of the points.
"""

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import Deployment, tree
from tests.factories import land_rows
from tests.integration.test_erase import CONFIG, GONE, land, places, rows_of
from tests.strategies import COLUMNS, TOUR
from updater.domain.bucket_file_names import file_name
from updater.lake import partitions
from updater.pipeline.erase.run import erase
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.run import restate_range
from updater.runtime.crash_points import ERASURE_WRITES
from updater.runtime.process_pool import ProcessPool

pytestmark = pytest.mark.campaign

LAST = TOUR.windows[2]


class Killed(BaseException):
    """Stands for the end of the process."""


def die_at(point: str) -> Callable[[str], None]:
    """In the place of `reach`: the process ends at `point`."""

    def reach(reached: str) -> None:
        if reached == point:
            raise Killed(point)

    return reach


class Scene:
    """A state in which a user is in every place that an erasure writes to, and which can be put back."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.made = Deployment.create(root, **CONFIG)
        self.saved = root / "saved"
        land(self.made.lake)
        self.made.run(TOUR.windows[:3])
        number = TOUR.days.index(LAST)
        rewritten = [{**rows_of(user, number)[0], "amount": 9.0} for user in (GONE, "new one")]
        land_rows(self.made.lake, "bill", LAST, rewritten, columns=COLUMNS, name="part-z.parquet")
        with patch.context() as dying, ProcessPool(self.made.settings, self.made.now) as pool:
            dying.setattr("updater.runtime.crash_points.reach", die_at("before:partition"))
            with pytest.raises(Killed):
                restate_range(self.made.context, pool, LAST, LAST)
        self._unplace()
        (self.made.state / f"events/bill/.x.parquet.{'1' * 32}.tmp").write_bytes(b"PAR1")
        shutil.copytree(self.made.state, self.saved)

    def _unplace(self) -> None:
        """Put files that the newest heads name back into staging, as a run killed after its head leaves them."""
        for record in self.made.context.ledger.bucket_records(LAST):
            for name in record.files:
                view = name.partition("-")[2]
                root = self.made.state / ("summaries" if view == "summaries" else f"offline/{view}")
                staged = self.made.state / "staged" / f"ds={LAST}" / f"bucket-{record.bucket:03d}" / name
                partitions.move(str(root / f"ds={LAST}" / file_name(record.bucket, 0)), str(staged))

    def restore(self) -> None:
        gc.collect()  # a connection that is closed later would remove the write-ahead log of the database put back
        shutil.rmtree(self.made.state)
        shutil.copytree(self.saved, self.made.state)

    def left(self) -> dict[str, Any]:
        """All that an erasure leaves but the online store, which is searched, and the hash, which varies."""
        ledger = self.made.context.ledger
        files = tree(self.made.state)
        return {
            "files": {path: digest for path, digest in files.items() if not path.endswith((".db", "-wal", "-shm"))},
            "partitions": ledger.partitions(),
            "history": [record for bucket in range(2) for record in ledger.bucket_history(bucket)],
            "heads": ledger.heads(),
            "audit": [[*row.subject] for row in ledger.audit() if row.action == "erase"],
            "unfinished": ledger.unfinished_erasures(),
        }


def test_an_erasure_that_ends_at_any_of_its_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch)
    assert places(scene.made, GONE)
    erase(scene.made.context, [GONE])
    assert places(scene.made, GONE) == []
    expected = scene.left()
    points = [f"{when}:{write}" for write in ERASURE_WRITES for when in ("before", "after")]
    for point in points:
        scene.restore()
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr("updater.runtime.crash_points.reach", die_at(point))
            erase(scene.made.context, [GONE])
        erase(scene.made.context, [GONE])
        assert scene.left() == expected, point
        assert places(scene.made, GONE) == [], point

    with ProcessPool(scene.made.settings, scene.made.now) as pool:
        restate_range(scene.made.context, pool, LAST, LAST)
    scene.made.run(TOUR.windows[3:4])
    assert places(scene.made, GONE) == []
    assert verify(scene.made.context, None).differences == []
