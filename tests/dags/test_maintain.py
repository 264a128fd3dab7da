"""The weekly DAG, run by Airflow with the real library: each trouble fails the run, and metrics are written anyway."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.dags.conftest import execute, parse, states
from tests.deployment import PROFILES, Deployment
from tests.watched import DAYS, land
from updater.settings import Settings

pytestmark = [pytest.mark.airflow, pytest.mark.campaign]
runs = pytest.mark.usefixtures("airflow_db")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment of one window, an hour after its end; UPDATER_CONFIG names its config."""
    made = Deployment.create(tmp_path, metrics={"file": "updater.prom"}, limits={"max_rejected_share": 0.5}, **PROFILES)
    land(made.lake, DAYS[0])
    monkeypatch.setenv("UPDATER_CONFIG", str(made.settings.source))
    end = made.context.window(DAYS[0]).as_of
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int((end + timedelta(hours=1)).timestamp())))
    return made


def test_edges_and_schedule(settings: Settings) -> None:
    dag = parse("maintain_state")
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "check_alerts": {"write_metrics"},
        "verify": {"maintain"},
        "maintain": {"write_metrics"},
        "write_metrics": set(),
    }
    assert (dag.catchup, dag.max_active_runs, type(dag.timetable).__name__) == (False, 1, "CronTriggerTimetable")
    assert all(task.retries == 3 and task.retry_policy is not None for task in dag.tasks)


def test_the_task_that_loads_the_model_runs_where_those_of_the_day_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPDATER_DAGS_POOL", "models")
    assert [task.task_id for task in parse("maintain_state").tasks if task.pool == "models"] == ["verify"]


def test_it_survives_serialization(settings: Settings) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = parse("maintain_state")
    again = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    assert set(again.task_dict) == set(dag.task_dict)
    assert again.get_task("write_metrics").is_teardown


@runs
@pytest.mark.slow
def test_a_week_in_which_all_is_well(made: Deployment) -> None:
    made.run(DAYS[:1])
    Path(made.settings.metrics.file).unlink()
    before = made.published()
    run = execute(parse("maintain_state"), verify_users=5)
    assert run.state == "success", states(run)
    assert set(states(run)) == {"check_alerts", "verify", "maintain", "write_metrics"}
    assert "updater_windows_completed 1.0" in Path(made.settings.metrics.file).read_text()
    assert made.published() == before


@runs
@pytest.mark.slow
def test_an_alert_fails_the_run_and_nothing_else(made: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    made.run(DAYS[:1])
    monkeypatch.setenv("UPDATER_ALERTS__MAX_DAYS_SINCE_LAST_EVENT", "0.4")
    Path(made.settings.metrics.file).unlink()
    run = execute(parse("maintain_state"))
    assert run.state == "failed"
    expected = {"check_alerts": "failed", "verify": "success", "maintain": "success", "write_metrics": "success"}
    assert states(run) == {task: [state] for task, state in expected.items()}
    assert {task.try_number for task in run.get_task_instances()} == {1}
    assert 'updater_alerts{threshold="max_days_since_last_event"} 2.0' in Path(made.settings.metrics.file).read_text()


@runs
@pytest.mark.slow
def test_a_state_that_differs_from_its_rebuild_is_left_alone(made: Deployment) -> None:
    made.run(DAYS[:1])
    next((made.state / "summaries").rglob("*.parquet")).unlink()
    run = execute(parse("maintain_state"))
    assert run.state == "failed"
    found = states(run)
    assert (found["verify"], found["maintain"]) == (["failed"], ["upstream_failed"])
    assert found["write_metrics"] == ["success"]


@runs
@pytest.mark.slow
def test_the_daily_update_writes_the_metrics_after_its_commit(made: Deployment) -> None:
    path = Path(made.settings.metrics.file)
    assert not path.exists()
    run = execute(parse("daily_update"), ds=str(DAYS[0]))
    assert run.state == "success", states(run)
    assert "updater_windows_completed 1.0" in path.read_text()
