"""The DAG that makes a model, run by Airflow with the real library: a gate that stops it, and one that lets it pass."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.dags.conftest import execute, parse, states
from tests.evaluation_lake import BUFFER_DAYS, TRAIN, write_evaluation
from updater.evaluation import report
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_context, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings

pytest.importorskip("accelerate")
pytest.importorskip("tensorboard")
pytestmark = pytest.mark.airflow

TRAINING = {
    "until": "2024-03-10",
    "anchor_every_days": 2,
    "future_days": 3,
    "steps": 4,
    "users_per_step": 8,
    "layers_steps": 3,
    "layers_users_per_step": 8,
    "pairs_per_user": 4,
}
SCENARIOS = [
    {"name": "lapse", "domain": "risk", "query": "bill events in the next 3 days?"},
    {"name": "will_buy", "domain": "marketing", "query": "dairy bill events in the next 3 days?"},
]
DONE = ["success"]


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A state with an untrained live model and two windows; UPDATER_CONFIG names its config."""
    tuning = {"steps": 2, "users_per_step": 8, "tokens": 2}
    config = write_evaluation(
        tmp_path, model={"backbone": "tiny"}, training=TRAINING, tuning=tuning, scenarios=SCENARIOS
    )
    monkeypatch.setenv("UPDATER_CONFIG", str(config))
    settings = load_settings(config)
    initialize(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        backfill(context, pool, TRAIN[0], TRAIN[0].replace(day=TRAIN[0].day + 1))
    return settings


def test_edges(settings: Settings) -> None:
    dag = parse("train_model")
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "build_data": {"pretrain"},
        "pretrain": {"tune", "join_prompts"},
        "tunable_scenarios": {"tune"},
        "tune": {"join_prompts"},
        "join_prompts": {"evaluate", "fidelity", "promote"},
        "evaluate": {"check_gate"},
        "fidelity": {"check_fidelity"},
        "check_gate": {"promote"},
        "check_fidelity": {"promote"},
        "promote": set(),
    }
    assert (dag.catchup, dag.max_active_runs, dag.timetable.can_be_scheduled) == (False, 1, False)
    assert dag.get_task("tune").is_mapped


@pytest.mark.slow
@pytest.mark.usefixtures("airflow_db")
def test_only_what_passes_the_gate_goes_live(live: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUFFER_DAYS > 1
    former = open_context(live).live_model()

    # How good four steps of training are depends on the machine; so much better nobody is.
    monkeypatch.setattr(report, "STANDARD_ERRORS", 1e6)
    run = execute(parse("train_model"))
    found = states(run)
    assert run.state == "failed"
    assert (found["check_gate"], found["promote"]) == (["failed"], ["upstream_failed"]), found
    assert found["tune"] == DONE * len(SCENARIOS)
    assert {name for name, each in found.items() if each == DONE * len(each)} == set(found) - {"check_gate", "promote"}
    assert open_context(live).live_model() == former
    assert evaluated(live)["ablations"] == {}

    monkeypatch.setattr(report, "raise_if_worse", lambda _: None)
    run = execute(parse("train_model"))
    assert run.state == "success", states(run)
    now = open_context(live).live_model()
    assert (former.version, now.version, now.trained) == (1, 2, True)
    assert set(evaluated(live)["mean"]) >= {"tuned", "base", "live", "untrained", "text", "rfm"}


def evaluated(settings: Settings) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(settings.paths.state, "evaluation", "report.json").read_text())
    return content
