"""The DAG of the texts that a language model keeps: it follows the day, and fails alone."""

from datetime import date
from typing import Any

import pytest

from tests.conftest import SettingsFactory
from tests.dags.conftest import execute, parse, states
from updater.airflow.tasks import profiles
from updater.errors import ServiceUnavailableError
from updater.pipeline.profile_llm import run as profile_run
from updater.pipeline.profile_llm.run import ProfileUpdateReport
from updater.runtime import deployment
from updater.settings import Settings

pytestmark = pytest.mark.airflow
PROFILE = {"enabled": True, "language_model": {"enabled": True, "url": "http://127.0.0.1:9/v1", "model": "m"}}


@pytest.fixture
def updated(make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch) -> list[date | None]:
    """Days that are updated in the place of the library, with a config that has it switched on."""
    monkeypatch.setenv("UPDATER_CONFIG", str(make_settings(profile=PROFILE).source))
    monkeypatch.setattr(deployment, "open_writable", lambda settings: None)
    days: list[date | None] = []

    def update(context: Any, ds: date | None) -> ProfileUpdateReport:
        days.append(ds)
        if ds == date(2024, 3, 1):
            return ProfileUpdateReport(str(ds), "llm:m", overtaken_by="2024-03-02")
        if ds is None:
            raise ServiceUnavailableError("nobody there")
        return ProfileUpdateReport(str(ds), "llm:m", accepted=2)

    monkeypatch.setattr(profile_run, "update_profiles", update)
    return days


def test_it_follows_the_days_that_come_online(settings: Settings) -> None:
    dag = parse("profiles")
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {"update": set()}
    assert type(dag.timetable).__name__ == "PartitionedAssetTimetable"
    outlets = [asset.name for asset in parse("daily_update").get_task("materialize").outlets]
    assert dag.timetable.asset_condition.name in outlets
    assert (dag.catchup, dag.max_active_runs, dag.max_consecutive_failed_dag_runs) == (False, 1, 0)


def test_a_day_is_that_of_the_run_and_one_that_was_overtaken_is_skipped(updated: list[date | None]) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    params = {"ds": None, "config": None}
    assert profiles.update(params=params, partition_key="2024-03-02")["accepted"] == 2
    assert profiles.update(params={**params, "ds": "2024-03-03"}, partition_key="2024-03-02")["ds"] == "2024-03-03"
    with pytest.raises(AirflowSkipException, match="2024-03-02 has texts already"):
        profiles.update(params=params, partition_key="2024-03-01")
    assert updated == [date(2024, 3, 2), date(2024, 3, 3), date(2024, 3, 1)]


@pytest.mark.slow
@pytest.mark.usefixtures("airflow_db")
def test_an_endpoint_that_is_away_fails_its_own_run_after_retries(updated: list[date | None]) -> None:
    run = execute(parse("profiles"))
    assert (run.state, states(run)) == ("failed", {"update": ["failed"]})
    assert updated == [None] * 4


@pytest.mark.usefixtures("settings")
def test_it_is_skipped_where_it_is_not_switched_on() -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match=r"profile\.language_model\.enabled is false"):
        profiles.update(params={"ds": None, "config": None})
