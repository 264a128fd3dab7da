"""Times that are true: a window's end, the steps' seconds, and what the tables say of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.watched import DAYS, land
from updater import tables
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.daily.window import run_window
from updater.pipeline.monitor.status import status
from updater.runtime.deployment import WritableContext, clock
from updater.runtime.process_pool import ProcessPool

BEGUN = datetime(2024, 6, 1, 18, 7, 16, tzinfo=UTC)


def deployed(root: Path, num_days: int) -> Deployment:
    made = Deployment.create(root, buffer={"num_buckets": 2})
    for ds in DAYS[:num_days]:
        land(made.lake, ds)
    return made


def ticking(made: Deployment) -> WritableContext:
    """A context whose clock advances by a minute whenever it is read."""
    past = iter(range(1, 1000))
    return WritableContext(made.settings, made.context.ledger, BEGUN, lambda: BEGUN + timedelta(minutes=next(past)))


def test_a_window_was_completed_when_it_was_done_and_not_when_it_began(tmp_path: Path) -> None:
    made = deployed(tmp_path, 3)
    with ProcessPool(made.settings, BEGUN) as pool:
        run_window(ticking(made), pool, DAYS[0])
        backfill(ticking(made), pool, DAYS[1], DAYS[2])
    windows = {window.ds: window for window in made.context.ledger.windows()}
    assert {window.opened_at for window in windows.values()} == {BEGUN}
    ends = [windows[ds].completed_at for ds in DAYS[:3]]
    assert ends[0] == BEGUN + timedelta(minutes=2), "after the audit row"
    assert ends[1:] == [BEGUN + timedelta(minutes=2), BEGUN + timedelta(minutes=3)], "one day after the other"
    assert [run["completed_at"] for run in status(made.context).runs] == [end.isoformat() for end in ends[::-1] if end]


def test_a_run_that_is_to_be_reproduced_has_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert clock() == datetime.fromtimestamp(1700000000, UTC)


def test_a_backfill_says_what_each_of_its_days_took_to_refresh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = deployed(tmp_path, 3)
    with ProcessPool(made.settings, made.now) as pool:
        reports = backfill(made.context, pool, DAYS[0], DAYS[2])
    assert all(report.seconds["refresh"] > 0 for report in reports)
    steps = ["detect", "encode", "refresh", "publish", "materialize"]
    assert [step for step in reports[0].seconds if step in steps] == steps
    stored = [window.counts["seconds"] for window in made.context.ledger.completed_windows()]
    assert [seconds["refresh"] for seconds in stored] == [report.seconds["refresh"] for report in reports[::-1]]
    tables.show_backfill({"restated": None, "windows": [report.to_json() for report in reports]})
    assert "refresh" in capsys.readouterr().out


def test_after_a_restatement_nobody_says_that_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_backfill({"restated": {"values": 54, "users": 41, "days": 6}, "windows": []})
    reported = capsys.readouterr().out
    assert "Restated 54 values of 41 users over 6 days." in reported
    assert "nothing changed" not in reported
    tables.show_backfill({"restated": {}, "windows": []})
    assert "nothing to restate" in (reported := capsys.readouterr().out)
    assert "nothing changed" in reported
