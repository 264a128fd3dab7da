"""Maintenance: fewer files, the same values to read, and nothing that a reader or a restatement still needs is lost."""

import gc
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.deployment import PROFILES, Deployment, tree
from tests.factories import SCENARIOS, land_rows
from tests.strategies import COLUMNS
from updater.domain.columns import PROFILE_VIEW
from updater.errors import NothingCommittedError, UnfinishedWorkError, WindowOrderError
from updater.pipeline.compact.report import MaintenanceReport
from updater.pipeline.compact.run import maintain, plan_maintenance
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.detect import detect
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify
from updater.pipeline.restate.run import restate_range
from updater.runtime.crash_points import MAINTENANCE_WRITES
from updater.runtime.deployment import Context
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.store.access import historical_rows
from updater.store.repository.connecting import open_store

pytestmark = pytest.mark.campaign

# A month that ends, the last day of the one before, and a buffer of three days.
DAYS = [date(2023, 1, 31) + timedelta(days=number) for number in range(30)]
LAST, NEXT = DAYS[-1], DAYS[-1] + timedelta(days=1)
USERS = ("ann", "bø 'x/%\"", "fay")
"""Of both buckets."""
FEATURES = [f"{s['name']}_v1:{s['name']}_{part}" for s in SCENARIOS for part in ("embedding", "as_of")]
FEATURES += ["modality_summaries:bill_num_events", "modality_summaries:prefix_fingerprint"]
FEATURES += [f"{PROFILE_VIEW}:profile_text"]
PARTS = ("events", "summaries", "offline", "texts")


def row(user: str, event_id: str, ds: date, word: str, amount: float = 1.0) -> dict[str, Any]:
    time = datetime(ds.year, ds.month, ds.day, 9, tzinfo=UTC)
    return {"user_id": user, "event_id": event_id, "event_time": time, "word": word, "amount": amount, "op": None}


def land(lake: str, ds: date, amount: float = 1.0) -> None:
    """Users buy every second to fourth day, one searches for something new each time, snapshots land on two days."""
    number = (ds - DAYS[0]).days
    bills = [row(u, f"b{number}", ds, f"w{number % 5}", amount) for i, u in enumerate(USERS) if number % (i + 2) == 0]
    searches = [row(USERS[2], f"s{number}", ds, f"search {number}")] if number % 2 == 0 else []
    land_rows(lake, "bill", ds, bills, columns=COLUMNS)
    land_rows(lake, "search", ds, searches, columns=COLUMNS)
    if number in (0, 1):
        apps = [row(USERS[0], "a", ds, f"app {number}"), *([row(USERS[1], "a", ds, "app")] if number == 0 else [])]
        land_rows(lake, "app", ds, apps, columns=COLUMNS)


@dataclass(frozen=True)
class Story:
    """A state of many days that can be put back."""

    made: Deployment
    saved: Path

    def at(self, hours: float, **retention: float) -> Context:
        """A context so many hours later, with other values of `[retention]`."""
        environ = {f"UPDATER_RETENTION__{key.upper()}": str(value) for key, value in retention.items()}
        settings = load_settings(self.made.settings.source, environ)
        return Deployment(settings, self.made.now + timedelta(hours=hours)).context

    def maintain(self, hours: float = 1.0, **retention: float) -> MaintenanceReport:
        return maintain(self.at(hours, **retention))

    def training_set(self, *days: date) -> pd.DataFrame:
        """What training reads at the ends of days, by Feast's own join over all files that lie there."""
        asked = [(user, self.made.context.window(ds).as_of) for ds in days for user in (*USERS, "nobody")]
        frame = pd.DataFrame(asked, columns=["user_id", "event_timestamp"])
        return historical_rows(open_store(self.made.settings), frame, FEATURES)

    def restore(self) -> None:
        gc.collect()  # a connection that is closed later would remove the write-ahead log of the database put back
        for part in ("state", "lake"):
            shutil.rmtree(self.saved.parent / part)
            shutil.copytree(self.saved / part, self.saved.parent / part)

    def outcome(self) -> dict[str, Any]:
        """All files of the state but databases, and what the ledger says of them."""
        files, ledger = tree(self.made.state, (*PARTS, "changes", "rejected")), self.made.context.ledger
        named = {"partitions": ledger.partitions(), "reach": ledger.earliest_recomputable()}
        return {"files": files, "retired": ledger.retired(), **named}

    def num_files(self, *parts: str) -> int:
        return sum(path.is_file() for path in self.made.state.joinpath(*parts).rglob("*"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("story")
    made = Deployment.create(root, buffer={"num_buckets": 2}, retention={"history_days": 20}, **PROFILES)
    for ds in DAYS:
        land(made.lake, ds)
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        backfill(context, pool, DAYS[0], LAST)
    for part in ("state", "lake"):
        shutil.copytree(root / part, root / "saved" / part)
    return Story(made, root / "saved")


@pytest.fixture
def story(built: Story) -> Iterator[Story]:
    yield built
    built.restore()


def test_files_become_few_and_values_stay(story: Story) -> None:
    before, published = story.training_set(*DAYS[::6]), story.made.published()
    files = {part: story.num_files(part) for part in PARTS}

    plan = plan_maintenance(story.at(1, history_days=1))
    assert story.made.published() == published
    assert not story.made.context.ledger.retired(), "a dry run changes nothing"

    first = story.maintain(1, history_days=1)
    assert {name: (part.merged, part.made, part.dropped) for name, part in first.parts.items()} == {
        name: (part.merged, part.made, part.dropped) for name, part in plan.parts.items()
    }
    assert first.earliest_recomputable == "2023-03-01"
    assert first.parts["events"].dropped > 0, "January lies a buffer before the earliest recomputable day"
    assert published.items() <= story.made.published().items(), "nothing goes before its grace period is over"
    pd.testing.assert_frame_equal(story.training_set(*DAYS[::6]), before)
    assert verify(story.at(1), None).differences == []

    assert sum(part.removed for part in story.maintain(12, history_days=1).parts.values()) == 0
    assert sum(part.removed for part in story.maintain(26, history_days=1).parts.values()) > 100
    pd.testing.assert_frame_equal(story.training_set(*DAYS[::6]), before)
    assert verify(story.at(30), None).differences == []
    assert story.num_files("summaries") == 2, "each bucket's newest"
    assert all(story.num_files(part) < files[part] / 4 for part in PARTS)

    again = story.maintain(60, history_days=1)
    assert all((part.made, part.waiting, part.removed) == (0, 0, 0) for part in again.parts.values())
    assert [record.action for record in story.at(60).ledger.audit(4)] == ["maintain"] * 4


def test_windows_go_on_from_merged_files(story: Story) -> None:
    for hours in (1, 26):
        story.maintain(hours)
    for ds in (NEXT, NEXT + timedelta(days=1)):
        land(story.made.lake, ds)
    first, _ = story.made.run([NEXT, NEXT + timedelta(days=1)])
    assert first.active_users == len(USERS)
    assert verify(story.at(30), None).differences == []


def test_a_window_at_the_same_time_gives_the_bytes_of_one_alone(story: Story) -> None:
    new = [NEXT, NEXT + timedelta(days=1)]
    for ds in new:
        land(story.made.lake, ds)
    story.made.run(new)
    alone = {path: digest for path, digest in story.made.published().items() if f"ds={NEXT}" in path}
    assert alone
    gc.collect()
    shutil.rmtree(story.made.state)
    shutil.copytree(story.saved / "state", story.made.state)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(story.made.run, new)
        reports = [story.maintain(1)]
        while not running.done():
            reports.append(story.maintain(1))
        running.result()
    assert reports[0].parts["offline"].made > 0
    assert alone.items() <= story.made.published().items()
    assert verify(story.at(2), None).differences == []


def test_a_day_of_a_merged_month_can_be_restated(story: Story) -> None:
    for hours in (1, 26):
        story.maintain(hours)
    rewritten = LAST - timedelta(days=1)
    land(story.made.lake, rewritten, amount=900.0)
    context = story.at(27)
    assert [item["ds"] for item in status(context).rewritten] == [str(rewritten)]
    with ProcessPool(context.settings, context.now) as pool:
        assert restate_range(context, pool, rewritten, LAST)["users"] > 0
    assert verify(context, None).differences == [], "rows of the old partition are still in the month, and not read"
    corrected = story.training_set(*DAYS[::5], LAST)

    assert story.maintain(28).parts["events"].made == 1
    assert story.maintain(60).parts["offline"].removed > 0
    assert verify(story.at(61), None).differences == []
    pd.testing.assert_frame_equal(story.training_set(*DAYS[::5], LAST), corrected)
    assert status(story.at(61)).rewritten == []


def test_a_file_that_was_read_again_begins_its_grace_period_anew(story: Story) -> None:
    """A day is rewritten, set back and rewritten once more: its first file was named again in between."""
    day = LAST - timedelta(days=1)  # somebody bought something

    def restate(hours: float, amount: float) -> str:
        land(story.made.lake, day, amount)
        context = story.at(hours)
        with ProcessPool(context.settings, context.now) as pool:
            restate_range(context, pool, day, LAST)
        return context.layout.relative(context.event_files("bill", day)[-1].path)

    first = story.made.context.layout.relative(story.made.context.event_files("bill", day)[-1].path)
    restate(1, 900.0)
    story.maintain(2)
    assert first in story.at(2).ledger.retired()
    assert restate(3, 1.0) == first
    restate(25, 900.0)
    story.maintain(30)
    assert story.at(30).ledger.retired()[first].since == story.at(30).now
    assert (story.made.state / first).exists(), "whoever read it an hour ago has time"
    story.maintain(55)
    assert not (story.made.state / first).exists()


def test_what_lies_beyond_the_reach_is_refused(story: Story) -> None:
    story.maintain(1)
    rows = [row(USERS[0], "a", DAYS[0], "another app")]
    land_rows(story.made.lake, "app", DAYS[0], rows, columns=COLUMNS)
    context = story.at(2, history_days=0)
    with ProcessPool(context.settings, context.now) as pool:
        with pytest.raises(WindowOrderError, match=r"app 2023-01-31 was rewritten, .* kept from 2023-02-01 on only"):
            restate_range(context, pool, DAYS[0], LAST)
        assert restate_range(context, pool, DAYS[1], LAST) == {}
    assert not Path(context.layout.restatement_plan()).exists()
    with pytest.raises(WindowOrderError, match="2023-01-31 cannot be detected again"):
        detect(context, context.window(DAYS[0]), context.settings.modality("bill"))
    assert story.maintain(3, history_days=0).earliest_recomputable == "2023-02-01", (
        "the earliest recomputable day never goes back"
    )


def test_of_old_embeddings_the_newest_of_each_user_stays(story: Story) -> None:
    before = story.training_set(LAST)
    for hours in (1, 26, 52):
        story.maintain(hours, embedding_days=1)
    left = {path.name for path in (story.made.state / "offline" / "lapse_v1").iterdir()}
    assert left == {"base=2023-01-31_2023-02-28", f"ds={LAST}"}
    pd.testing.assert_frame_equal(story.training_set(LAST), before)
    assert story.training_set(DAYS[3])["lapse_as_of"].isna().all()
    assert verify(story.at(53), None).differences == []


class Killed(BaseException):
    """Stands for the end of the process; tests/e2e/test_kill_maintain.py ends real ones."""


def test_a_maintenance_that_ends_at_any_of_its_writes(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = (1, 26)
    for hours in clocks:
        story.maintain(hours, history_days=1)
    expected = story.outcome()
    for point in [f"{when}:{write}" for write in MAINTENANCE_WRITES for when in ("before", "after")]:
        story.restore()
        ends = 0
        for hours in clocks:
            try:
                with monkeypatch.context() as patch:
                    patch.setattr("updater.runtime.crash_points.reach", die_at(point))
                    story.maintain(hours, history_days=1)
            except Killed:
                ends += 1
                story.maintain(hours, history_days=1)
        assert ends > 0, point
        assert story.outcome() == expected, point
    assert verify(story.at(27), None).differences == []


def die_at(point: str) -> Callable[[str], None]:
    """In the place of `reach`: the process ends at `point`."""

    def reach(reached: str) -> None:
        if reached == point:
            raise Killed(point)

    return reach


def test_maintenance_waits_for_what_is_unfinished(story: Story) -> None:
    context = story.at(1)
    context.ledger.begin_restatement(context.now)
    with pytest.raises(UnfinishedWorkError, match="restatement was started but not finished"):
        maintain(context)
    context.ledger.end_restatement()
    context.ledger.record_erasures(["somebody"], context.now)
    with pytest.raises(UnfinishedWorkError, match="erasure of 1 users was started but not finished"):
        maintain(context)


def test_nothing_to_maintain(tmp_path: Path) -> None:
    with pytest.raises(NothingCommittedError, match="No window is committed yet"):
        maintain(Deployment.create(tmp_path).context)
