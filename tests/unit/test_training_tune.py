"""Which label tasks train which soft prompt."""

import pytest

from tests.evaluation_lake import FAMILY_OF_PROMPTS
from updater.errors import NotFoundError
from updater.settings import Settings
from updater.training.tuning.tune import _recipe, _tasks_of, tunable_scenarios


@pytest.fixture
def settings(make_settings, tmp_path) -> Settings:
    path = tmp_path / "tasks.toml"
    path.write_text(FAMILY_OF_PROMPTS)
    return make_settings(evaluation={"tasks": str(path)})


def test_each_value_has_a_prompt_and_all_of_them_train_that_of_unseen_ones(settings: Settings) -> None:
    assert tunable_scenarios(settings) == ["buys_dairy", "buys", "buys_red_wine"]
    assert [task.name for task in _tasks_of(settings, "buys_dairy")] == ["buys_dairy_soon"]
    assert [task.name for task in _tasks_of(settings, "buys")] == ["buys_dairy_soon", "buys_red_wine_soon"]
    with pytest.raises(NotFoundError, match="No label task") as raised:
        _tasks_of(settings, "buys_tea")
    assert (raised.value.kind, raised.value.name) == ("scenario", "buys_tea")


def test_a_value_that_nothing_may_be_trained_on_has_no_prompt(make_settings, tmp_path) -> None:
    path = tmp_path / "tasks.toml"
    path.write_text("\n".join(line for line in FAMILY_OF_PROMPTS.splitlines() if "unseen_scenario" not in line))
    assert tunable_scenarios(make_settings(evaluation={"tasks": str(path)})) == ["buys_dairy", "buys_red_wine"]


def test_how_a_model_is_evaluated_afterwards_makes_no_other_prompts(make_settings, settings: Settings) -> None:
    tasks = settings.evaluation.tasks

    def recipe(**evaluation):
        return _recipe(make_settings(evaluation={"tasks": tasks, "train": ["2024-03-01"], **evaluation}), "digest")

    assert recipe() == recipe(paraphrases=3, bootstrap=20, test=["2024-06-01"])
    assert len({recipe(), recipe(train=["2024-03-02"]), recipe(horizon_days=14)}) == 3
