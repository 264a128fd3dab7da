"""What an object store is asked for a lake of many days: listings, and not a request a day."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.factories import bill, land_rows
from tests.object_store import ObjectStore, object_store
from updater.lake import partitions
from updater.pipeline.changed_partitions import find_rewritten
from updater.pipeline.daily.dry_run import plan_backfill, plan_window
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify

DAYS = [date(2024, 5, 1) + timedelta(number) for number in range(12)]
MODALITIES = [
    {"name": "bill", "text": "{category}", "max_events": 4},
    {"name": "app", "text": "{category}", "max_events": 4, "kind": "snapshot", "optional": True},
]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Deployment]:
    """Twelve landed days of two modalities in an object store; the first ten are done."""
    with object_store() as lake:
        made = Deployment.create(tmp_path, modalities=MODALITIES, paths={"lake": lake})
        for ds in DAYS:
            for modality in ("bill", "app"):
                land_rows(lake, modality, ds, [bill("ann", f"e{ds}", f"{ds} 10:00:00")])
        made.run(DAYS[9:10])
        yield made


def test_looking_at_the_lake_takes_the_same_requests_for_any_number_of_days(made: Deployment) -> None:
    ObjectStore.requests.clear()
    assert list(find_rewritten(made.context, date.min, DAYS[-1])) == []
    # Files of two modalities, and which days of the optional one have landed.
    assert ObjectStore.requests.total() == 3
    ObjectStore.requests.clear()
    report = status(made.context)
    assert report.waiting == [ds.isoformat() for ds in DAYS[10:]]
    # Once more, then which days wait, and the newest landed day of each modality: none of it a request a day.
    assert ObjectStore.requests.total() <= 10


def test_a_plan_lists_the_lake_and_asks_for_no_day(
    made: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ObjectStore.requests.clear()
    assert plan_backfill(made.context, DAYS[9], DAYS[-1], False).days == [ds.isoformat() for ds in DAYS[10:]]
    assert ObjectStore.requests == {"list": 1}, "of the modality that is required"

    listed = []
    real = partitions.landed_days
    monkeypatch.setattr(partitions, "landed_days", lambda root: listed.append(root) or real(root))
    monkeypatch.setattr(partitions, "has_landed", None)
    young = Deployment.create(tmp_path / "young", modalities=MODALITIES, paths={"lake": made.lake})
    assert plan_window(young.context, DAYS[9]).changed_users == 1
    assert listed == [f"{made.lake}/bill", f"{made.lake}/app"], "for the first window, which takes in many days"


def test_a_rewritten_day_and_a_stranger_are_noticed_in_an_object_store(made: Deployment) -> None:
    land_rows(made.lake, "bill", DAYS[8], [bill("bob", "e", f"{DAYS[8]} 10:00:00")])
    land_rows(made.lake, "app", DAYS[7], [bill("bob", "e", f"{DAYS[7]} 10:00:00")], name="no-suffix")
    found = [(modality.name, ds) for modality, ds, _ in find_rewritten(made.context, date.min, DAYS[-1])]
    assert found == [("bill", DAYS[8]), ("app", DAYS[7])]


def test_the_values_are_those_of_a_lake_on_the_disk(made: Deployment) -> None:
    made.run(DAYS[10:])
    assert verify(made.context, None).differences == []
