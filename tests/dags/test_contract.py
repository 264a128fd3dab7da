"""What the DAG files promise: light to parse, in order, retried, wired as documented."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pendulum
import pytest

from tests.conftest import ROOT, SettingsFactory
from tests.dags.conftest import DAGS, parse
from updater.airflow.config import landing_day, model_task, start_date
from updater.errors import ConfigError
from updater.settings import Settings

pytestmark = pytest.mark.airflow

HEAVY = ("torch", "feast", "transformers", "pandas", "pyarrow", "numpy", "duckdb")
PARSE = """
import runpy, sys, time
import airflow.sdk
[getattr(airflow.sdk, name) for name in ("dag", "task", "Asset", "CronDataIntervalTimetable")]
start = time.perf_counter()
runpy.run_path(sys.argv[1])
print(time.perf_counter() - start, *sorted(set(sys.argv[2:]) & set(sys.modules)))
"""


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_parsing_a_dag_is_quick_and_imports_nothing_heavy(path: Any, settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(path), *HEAVY], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, *heavy = done.stdout.split()
    assert heavy == []
    assert float(seconds) < 2


def test_every_task_of_every_dag_is_retried_with_backoff(settings: Settings) -> None:
    for dag_id in ("daily_update", "backfill"):
        for task in parse(dag_id).tasks:
            assert task.retries == 3
            assert task.retry_exponential_backoff == 2.0
            assert task.retry_policy is not None


def test_the_daily_schedule_leaves_no_day_out_and_stops_at_a_failed_one(settings: Settings) -> None:
    dag = parse("daily_update")
    assert (dag.catchup, dag.max_active_runs, dag.max_consecutive_failed_dag_runs) == (True, 1, 1)
    assert "backfill" not in {str(kind) for kind in dag.allowed_run_types}
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"


def test_edges_of_the_daily_update(settings: Settings) -> None:
    edges = {task.task_id: task.downstream_task_ids for task in parse("daily_update").tasks}
    assert edges == {
        "wait_for_landing": {"detect"},
        "detect": {"modalities_to_encode", "bucket_groups"},
        "modalities_to_encode": {"encode"},
        "encode": {"refresh"},
        "bucket_groups": {"refresh"},
        "refresh": {"publish"},
        "publish": {"materialize"},
        "materialize": {"verify"},
        "verify": set(),
    }


def test_edges_of_the_backfill(settings: Settings) -> None:
    edges = {task.task_id: task.downstream_task_ids for task in parse("backfill").tasks}
    assert edges.pop("missing_days") == set(edges)
    assert edges == {
        "prepare_days": {"bucket_groups_of_days"},
        "bucket_groups_of_days": {"refresh_days"},
        "refresh_days": {"publish_days"},
        "publish_days": {"verify_days"},
        "verify_days": set(),
    }


def test_one_asset_per_feature_view(settings: Settings) -> None:
    outlets = [asset.name for asset in parse("daily_update").get_task("materialize").outlets]
    assert outlets == ["updater/lapse", "updater/takeout", "updater/modality_summaries"]


def test_dags_survive_serialization(settings: Settings) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    for dag_id in ("daily_update", "backfill"):
        dag = parse(dag_id)
        again = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        assert set(again.task_dict) == set(dag.task_dict)


def test_pool_and_queue_are_only_asked_for_when_configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {task.pool for task in parse("daily_update").tasks} == {"default_pool"}
    monkeypatch.setenv("UPDATER_DAGS_POOL", "models")
    monkeypatch.setenv("UPDATER_DAGS_QUEUE", "gpu")
    placed = {task.task_id for task in parse("daily_update").tasks if (task.pool, task.queue) == ("models", "gpu")}
    assert placed == {"encode", "refresh", "verify"}


def test_model_task_without_configuration_leaves_airflows_own_defaults() -> None:
    assert model_task({}) == {}


def test_start_date_is_midnight_where_the_config_says() -> None:
    start = start_date("Asia/Tokyo", {"UPDATER_DAGS_START_DATE": "2024-03-01"})
    assert start == datetime(2024, 2, 29, 15, tzinfo=UTC)


def test_a_malformed_start_date_names_its_variable() -> None:
    with pytest.raises(ConfigError, match=r"UPDATER_DAGS_START_DATE is 'soon'"):
        start_date("UTC", {"UPDATER_DAGS_START_DATE": "soon"})


def test_the_library_reads_its_config_although_the_dags_have_variables_of_their_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from updater.settings import load_settings

    monkeypatch.setenv("UPDATER_DAGS_START_DATE", "2024-03-01")
    assert load_settings() == settings


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Paris", "America/New_York", "America/Santiago", "Africa/Cairo"])
def test_each_scheduled_interval_is_the_local_day_that_it_starts(
    timezone: str, make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.interval import CronDataIntervalTimetable

    monkeypatch.setenv("UPDATER_CONFIG", str(make_settings(timezone=timezone).source))
    timetable = CronDataIntervalTimetable("0 0 * * *", timezone=timezone)
    restriction = TimeRestriction(pendulum.datetime(2024, 1, 1, tz=timezone), None, True)
    interval, seen = None, []
    for _ in range(366):
        interval = timetable.next_dagrun_info(
            last_automated_data_interval=interval, restriction=restriction
        ).data_interval
        seen.append(landing_day({"params": {}, "data_interval_start": interval.start.in_timezone("UTC")}))
    assert seen == [str(date(2024, 1, 1) + timedelta(days=i)) for i in range(366)]


def test_the_ds_param_beats_the_interval(settings: Settings) -> None:
    context = {"params": {"ds": "2024-01-05"}, "data_interval_start": datetime(2026, 1, 1, tzinfo=UTC)}
    assert landing_day(context) == "2024-01-05"


def test_a_run_without_a_day_says_how_to_name_one(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="--conf"):
        landing_day({"params": {"ds": None}})
