"""The DAG that trains a model for users' texts, run by Airflow with the real library: tried again, it goes on."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SettingsFactory
from tests.dags.conftest import execute, parse, states
from tests.updater_training import TRAINING, context_of, deployment
from updater.airflow.tasks import profiles
from updater.errors import ServiceUnavailableError
from updater.training.profile import run as training_run
from updater.training.profile.run import train_updater

pytestmark = pytest.mark.airflow


@pytest.mark.usefixtures("settings")
def test_it_is_one_task_without_a_schedule() -> None:
    dag = parse("train_profiles")
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {"train": set()}
    assert (dag.catchup, dag.max_active_runs, dag.timetable.can_be_scheduled) == (False, 1, False)


@pytest.mark.slow
@pytest.mark.usefixtures("airflow_db")
def test_tried_again_it_goes_on_and_returns_the_model(
    make_settings: SettingsFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = deployment(make_settings, tmp_path)
    monkeypatch.setenv("UPDATER_CONFIG", str(settings.source))
    supervise, reinforce = training_run.supervise, training_run.reinforce
    phases: list[str] = []

    def supervised(*args: Any) -> Any:
        phases.append("supervised")
        return supervise(*args)

    def by_rewards(*args: Any) -> Any:
        phases.append("by rewards")
        if phases.count("by rewards") == 1:
            raise ServiceUnavailableError("a disk that is away for a moment")
        return reinforce(*args)

    monkeypatch.setattr(training_run, "supervise", supervised)
    monkeypatch.setattr(training_run, "reinforce", by_rewards)
    run = execute(parse("train_profiles"))
    assert (run.state, states(run)) == ("success", {"train": ["success"]})
    # The second try had the first phase's model.
    assert phases == ["supervised", "by rewards", "by rewards"]
    # Nothing is left to be done, for the library and for the task.
    found = train_updater(context_of(settings))
    assert found.finished and found.model == profiles.train({"config": None})
    assert phases == ["supervised", "by rewards", "by rewards"]
    assert found.steps == {"supervised": TRAINING["supervised_steps"], "by rewards": TRAINING["reinforced_steps"]}
