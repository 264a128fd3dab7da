"""A partition rewritten after processing: exactly the affected users and days are recomputed, and nothing else."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow.compute as pc
import pytest

from tests.deployment import PROFILES
from tests.factories import bill, land_rows, search, utc
from updater.domain.window import Window
from updater.errors import UnfinishedWorkError
from updater.lake import partitions
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.plan import plan_restatement
from updater.pipeline.restate.run import restate, restate_range
from updater.runtime.crash_points import RESTATEMENT_WRITES
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.state.event_store import Buffer

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=i) for i in range(4)]
NOW = utc("2026-03-10")


def land(lake: str, day: date, amount: float = 1.0) -> None:
    """User `a` buys every day, `b` on the first day only, `c` searches; `amount` is what `a` paid on the day."""
    rows = [bill("a", f"a{day}", f"{day} 10:00:00", amount=amount)]
    rows += [bill("b", "b1", f"{day} 11:00:00")] if day == FIRST else []
    land_rows(lake, "bill", day, rows)
    land_rows(lake, "search", day, [search("c", f"c{day}", f"{day} 12:00:00", f"query {day}")])


@pytest.fixture
def deployed(make_settings: Callable[..., Settings]) -> Settings:
    settings = make_settings(**PROFILES)
    for day in DAYS:
        land(settings.paths.lake, day)
    initialize(settings)
    context = open_writable(settings, NOW)
    with ProcessPool(settings, context.now) as pool:
        backfill(context, pool, DAYS[0], DAYS[-1])
    return settings


def offline_files(context: WritableContext) -> dict[str, bytes]:
    fs, inner = partitions.filesystem(context.layout.views())
    return {str(path).removeprefix(inner): fs.cat_file(path) for path in fs.find(inner)}


def later(hours: int = 24) -> datetime:
    return NOW + timedelta(hours=hours)


def test_a_rewritten_partition_restates_its_users_from_its_day_on(deployed: Settings) -> None:
    before = offline_files(open_writable(deployed, NOW))
    land(deployed.paths.lake, DAYS[1], amount=900.0)
    context = open_writable(deployed, later())
    assert [(item["modality"], item["ds"]) for item in status(context).rewritten] == [("bill", "2026-03-02")]

    with ProcessPool(deployed, context.now) as pool:
        counts = restate_range(context, pool, DAYS[0], DAYS[-1])

    assert counts == {"users": 1, "days": 3, "values": 3}
    after = offline_files(context)
    assert {name: after[name] for name in before} == before, "what was served stays on record"
    inner = partitions.filesystem(context.layout.views())[1]
    for name in after.keys() - before.keys():
        table = partitions.read_table(inner + name)
        assert table["user_id"].to_pylist() == ["a"]
        assert pc.all(pc.equal(table["created_timestamp"], later().replace(tzinfo=None))).as_py()
    assert status(context).rewritten == []
    report = verify(context, None)
    assert report.differences == []
    assert report.users == 3


def test_days_after_a_restatement_go_on(deployed: Settings) -> None:
    land(deployed.paths.lake, DAYS[1], amount=900.0)
    context = open_writable(deployed, later())
    with ProcessPool(deployed, context.now) as pool:
        restate_range(context, pool, DAYS[0], DAYS[-1])
        land(deployed.paths.lake, DAYS[-1] + timedelta(days=1))
        report = run_window(context, pool, DAYS[-1] + timedelta(days=1))
    assert report.changed_users == 2
    assert report.active_users == 3
    assert verify(context, None).differences == []


def test_a_file_that_was_only_touched_restates_nothing(deployed: Settings) -> None:
    land(deployed.paths.lake, DAYS[1])
    context = open_writable(deployed, later())
    with ProcessPool(deployed, context.now) as pool:
        assert restate_range(context, pool, DAYS[0], DAYS[-1]) == {}


def test_a_new_user_in_a_rewritten_partition_has_no_value_before_it(deployed: Settings) -> None:
    land_rows(deployed.paths.lake, "search", DAYS[2], [search("new", "n1", f"{DAYS[2]} 09:00:00")])
    context = open_writable(deployed, later())
    with ProcessPool(deployed, context.now) as pool:
        counts = restate_range(context, pool, DAYS[0], DAYS[-1])
    # `c` loses that day's search, `new` gains one; nobody else is touched.
    assert counts["users"] == 2
    assert verify(context, None).differences == []


def test_a_restatement_reads_the_buffer_once_per_bucket_and_day(
    deployed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, everyone = [], Buffer.everyone

    def counting(self: Buffer, window: Window, buckets: Sequence[int] = ()) -> Any:
        read.append((window.ds, self._modality.name, tuple(buckets)))
        return everyone(self, window, buckets)

    monkeypatch.setattr(Buffer, "everyone", counting)
    rows = [search(f"new{number}", f"n{number}", f"{DAYS[2]} 09:00:00") for number in range(9)]
    land_rows(deployed.paths.lake, "search", DAYS[2], rows)
    context = open_writable(deployed, later())
    with ProcessPool(deployed, context.now) as pool:
        assert restate_range(context, pool, DAYS[0], DAYS[-1])["users"] == 10
    assert len(read) == len(set(read)), "not once more for each user that has no value yet"
    assert {len(buckets) for _, _, buckets in read} == {1}


def test_a_killed_restatement_goes_on_and_stops_new_windows(
    deployed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(deployed.paths.lake, DAYS[1], amount=900.0)
    context = open_writable(deployed, later())
    restatement = plan_restatement(context, DAYS[0], DAYS[-1])
    assert restatement is not None

    class Killed(BaseException):
        """Stands for the end of the process."""

    def die(*_: object) -> None:
        raise Killed

    with ProcessPool(deployed, context.now) as pool:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr("updater.pipeline.restate.run.materialize", die)
            restate(context, pool, restatement)
        land(deployed.paths.lake, DAYS[-1] + timedelta(days=1))
        with pytest.raises(UnfinishedWorkError, match="restatement was started but not finished"):
            run_window(context, pool, DAYS[-1] + timedelta(days=1))

        again = open_writable(deployed, later(48))
        assert restate_range(again, pool, DAYS[0], DAYS[-1])["users"] == 1
        run_window(again, pool, DAYS[-1] + timedelta(days=1))
    assert verify(again, None).differences == []


def test_a_restatement_that_ends_at_any_of_its_writes(deployed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    context, reached, point = open_writable(deployed, later()), list[str](), ""

    def die(here: str) -> None:
        reached.append(here)
        if here == point:
            raise KeyboardInterrupt

    with ProcessPool(deployed, context.now) as pool:
        for number, write in enumerate(RESTATEMENT_WRITES):
            for when in ("before", "after"):
                point = f"{when}:{write}"
                reached.clear()
                land(deployed.paths.lake, DAYS[1], amount=900.0 + 2 * number + (when == "after"))
                with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                    patch.setattr("updater.runtime.crash_points.reach", die)
                    restate_range(context, pool, DAYS[0], DAYS[-1])
                # From its first write to its last it is said to be under way, whatever lies in the state.
                is_under_way = "after:restatement" in reached and point != "after:restated"
                assert (context.ledger.restatement() is not None) == is_under_way, point
                restate_range(context, pool, DAYS[0], DAYS[-1])
                assert context.ledger.restatement() is None, point
                assert not partitions.exists(context.layout.restatement_plan()), point
                assert status(context).rewritten == [], point
        land(deployed.paths.lake, DAYS[-1] + timedelta(days=1))
        run_window(context, pool, DAYS[-1] + timedelta(days=1))
    assert verify(context, None).differences == []
