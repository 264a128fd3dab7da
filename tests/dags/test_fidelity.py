"""The DAG that asks what each day's embeddings keep, and the gate of a model, run by Airflow."""

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import SettingsFactory
from tests.dags.conftest import execute, parse, states
from tests.dags.shop import DAYS, Make
from tests.deployment import Deployment
from updater.airflow.tasks import training
from updater.errors import VerificationError
from updater.fidelity import run as fidelity_run

pytestmark = pytest.mark.airflow

RIGHT = {
    "ds": str(DAYS[1]),
    "parity": {"holds": True},
    "locality": None,
    "questions": {"removed": {}},
    "differences": {},
}
LOST = {"candidate-published": {"LI": {"value": -0.1, "low": -0.2, "high": -0.05, "n": 5000}}}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[date, dict[str, Any]]]:
    """What is measured in the place of the library; `report.json` beside the test has what is found."""
    calls: list[tuple[date, dict[str, Any]]] = []
    (tmp_path / "report.json").write_text(json.dumps(RIGHT), encoding="utf-8")

    def measure(context: Any, pool: Any, ds: date, **options: Any) -> SimpleNamespace:
        calls.append((ds, options))
        return SimpleNamespace(report_file=str(tmp_path / "report.json"))

    monkeypatch.setattr(fidelity_run, "measure_fidelity", measure)
    return calls


@pytest.mark.parametrize("profile", [{}, {"enabled": True}], ids=["", "profiles"])
def test_it_follows_the_days_that_come_online(
    make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch, profile: dict[str, Any]
) -> None:
    monkeypatch.setenv("UPDATER_CONFIG", str(make_settings(profile=profile).source))
    dag = parse("fidelity")
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "measure": {"check", "score_actions"},
        "check": set(),
        "score_actions": set(),
    }
    assert type(dag.timetable).__name__ == "PartitionedAssetTimetable"
    assert dag.timetable.asset_condition.name == "updater/modality_summaries"
    announced = [asset.name for asset in parse("daily_update").get_task("materialize").outlets]
    assert dag.timetable.asset_condition.name in announced
    assert (dag.catchup, dag.max_active_runs, dag.max_consecutive_failed_dag_runs) == (False, 1, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("airflow_db")
def test_the_newest_day_is_measured_and_a_wrong_one_fails_its_own_run(
    make: Make, measured: list[tuple[date, dict[str, Any]]], tmp_path: Path
) -> None:
    made: Deployment = make("shop")
    made.run(DAYS[:2])
    assert execute(parse("fidelity")).state == "success"
    assert execute(parse("fidelity"), ds=str(DAYS[0]), users=7).state == "success"
    assert measured == [(DAYS[1], {"users": 2000}), (DAYS[0], {"users": 7})]

    (tmp_path / "report.json").write_text(
        json.dumps({**RIGHT, "parity": {"holds": False, "different": 1, "users": 3, "largest": 0.5}})
    )
    run = execute(parse("fidelity"))
    assert (run.state, states(run)) == (
        "failed",
        {"measure": ["success"], "check": ["failed"], "score_actions": ["success"]},
    )
    assert made.context.ledger.watermark() == DAYS[1]


@pytest.mark.slow
def test_a_day_that_was_overtaken_is_skipped(make: Make, measured: list[tuple[date, dict[str, Any]]]) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    from updater.airflow.tasks import fidelity

    made: Deployment = make("shop")
    made.run(DAYS[:2])
    params = {"ds": None, "users": 5, "config": None}
    with pytest.raises(AirflowSkipException, match=str(DAYS[1])):
        fidelity.measure(params=params, partition_key=str(DAYS[0]))
    fidelity.measure(params=params, partition_key=str(DAYS[1]))
    assert [ds for ds, _ in measured] == [DAYS[1]]


@pytest.mark.slow
def test_a_model_is_compared_with_a_trained_live_one(
    make: Make, measured: list[tuple[date, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: Deployment = make("shop")
    params = {"config": None}
    assert training.fidelity("new", params) is None
    made.run(DAYS[:1])
    # The live model is untrained, and nobody minds what it keeps.
    assert training.fidelity("new", params) is None
    training.check_fidelity(None)
    assert measured == []

    live = made.context.live_model()
    monkeypatch.setattr(
        "updater.runtime.deployment.Context.live_model",
        lambda self: SimpleNamespace(trained=True, version=live.version, digest=live.digest),
    )
    report = training.fidelity("new", params)
    assert report is not None
    assert [(ds, options["model"]) for ds, options in measured] == [(DAYS[0], "new")]
    assert "candidate" in measured[0][1]["output"]
    training.check_fidelity(report)
    (tmp_path / "report.json").write_text(json.dumps({**RIGHT, "differences": LOST}))
    with pytest.raises(VerificationError, match="LI"):
        training.check_fidelity(report)
