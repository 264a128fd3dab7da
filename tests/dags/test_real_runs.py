"""Airflow runs the real library against a lake on disk, and does what the library does by itself."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.dags.conftest import execute, landed, parse, states
from tests.dags.shop import DAYS, Make, online
from tests.deployment import NOW, Deployment
from tests.factories import land_rows
from updater.airflow import landing
from updater.demo.run_day import run_day
from updater.lake.partitions import mark_success
from updater.pipeline.daily.backfill import backfill
from updater.runtime.process_pool import ProcessPool

# ibis calls a name that duckdb has renamed; both still work.
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.usefixtures("airflow_db"),
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]


# What a task logs is read off the first day in Airflow's log.
LOGGED = (
    r"detected bill of 2024-03-28: \d+ rows",
    r"encoded \d+ of \d+ texts of bill",
    r"refreshed \d+ buckets \(0 to \d\) of 2024-03-28: \d+ changed users, \d+ prefixes, [\d.]+ s",
    r"published 2024-03-28: \d+ changed users",
    r"materialized 2024-03-28: \d+ rows",
    r"committed 2024-03-28",
    r"verified \d+ users at 2024-03-28: 0 differences",
)


@pytest.fixture(scope="module")
def by_library(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """What the library's backfill makes of all days; who takes it leaves it as it is."""
    made = landed(tmp_path_factory.mktemp("library"))
    with ProcessPool(made.settings, NOW) as pool:
        backfill(made.context, pool, DAYS[0], DAYS[-1])
    return made


def test_daily_runs_and_the_librarys_backfill_give_the_same_bytes(make: Make, by_library: Deployment) -> None:
    made = make("airflow")
    for ds in DAYS:
        run = execute(parse("daily_update"), ds=str(ds), num_groups=3, verify_users=5)
        assert run.state == "success", states(run)
    assert states(run)["encode"] == ["skipped"]
    assert len(made.published()) > 10
    assert made.published() == by_library.published()
    assert online(made) == online(by_library)
    assert made.context.ledger.watermark() == DAYS[-1]


def test_the_dag_and_the_librarys_backfill_give_the_same_bytes(make: Make, by_library: Deployment) -> None:
    made = make("airflow")
    made.run(DAYS[:1])
    run = execute(parse("backfill"), from_date=str(DAYS[0]), to_date=str(DAYS[-1]))
    assert run.state == "success", states(run)
    assert made.published() == by_library.published()
    assert online(made) == online(by_library)
    assert made.context.ledger.watermark() == DAYS[-1]


def test_a_day_run_again_changes_nothing(make: Make) -> None:
    made = make("airflow")
    made.run(DAYS[:3])
    before, served = made.published(), online(made)
    for ds in (DAYS[2], DAYS[1]):
        run = execute(parse("daily_update"), ds=str(ds))
        assert run.state == "success", states(run)
    assert (made.published(), online(made)) == (before, served)


def test_a_gap_fails_at_the_first_try_and_publishes_nothing(make: Make) -> None:
    made = make("airflow")
    made.run(DAYS[:1])
    before = made.published()
    run = execute(parse("daily_update"), ds=str(DAYS[2]))
    assert run.state == "failed"
    assert states(run)["detect"] == ["failed"] * 3
    assert {task.try_number for task in run.get_task_instances() if task.task_id == "detect"} == {1}
    assert made.published() == before


def test_a_day_that_lands_later_is_waited_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("airflow")
    success = Path(made.lake, "search", f"ds={DAYS[0]}", "_SUCCESS")
    success.unlink()
    looks, real = [], landing.exists

    def look(path: str) -> bool:
        looks.append(path)
        if looks.count(str(success)) == 3:
            assert made.context.ledger.window(DAYS[0]) is None
            mark_success(f"{made.lake}/search", DAYS[0])
        return real(path)

    monkeypatch.setattr(landing, "exists", look)
    dag = parse("daily_update")
    dag.get_task("wait_for_landing").poke_interval = 0.05
    run = execute(dag, ds=str(DAYS[0]))
    assert run.state == "success", states(run)
    assert looks.count(str(success)) == 3
    assert made.context.ledger.watermark() == DAYS[0]


def test_run_day_reports_and_logs_each_task_and_keeps_terminal_and_environment_clean(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("airflow")
    started = []

    def watched(command, **options):
        started.append(subprocess_run(command, **options))
        return started[-1]

    subprocess_run = subprocess.run
    monkeypatch.setattr(subprocess, "run", watched)
    before = dict(os.environ)
    report = run_day(str(made.settings.source), DAYS[0])
    [done] = started
    assert json.loads(done.stdout) == report
    assert done.stderr == ""
    assert dict(os.environ) == before
    assert report["state"] == "success"
    assert {"wait_for_landing", "detect[bill]", "encode[search]", "refresh[0]", "verify"} <= set(report["tasks"])
    assert set(report["tasks"].values()) == {"success"}
    assert Path(report["log"]).is_relative_to(made.state / "airflow")
    logged = Path(report["log"]).read_text()
    assert [line for line in LOGGED if not re.search(line, logged)] == []
    assert made.context.ledger.watermark() == DAYS[0]


def test_run_day_reports_a_refused_day_as_a_failed_state(make: Make) -> None:
    made = make("airflow")
    shutil.rmtree(f"{made.lake}/bill/ds={DAYS[0]}")
    land_rows(made.lake, "bill", DAYS[0], [{"user_id": "ann", "event_id": "a"}])
    report = run_day(str(made.settings.source), DAYS[0])
    assert report["state"] == "failed"
    assert report["tasks"]["detect[bill]"] == "failed"
    assert report["tasks"]["publish"] == "upstream_failed"
    assert "bill" in Path(report["log"]).read_text()
