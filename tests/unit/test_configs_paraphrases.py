"""The paraphrases of the Complete Journey tasks: written for every task, and none of them twice."""

from pathlib import Path

import pytest

from updater.evaluation.paraphrases import paraphrased_tasks
from updater.labels.tasks import question, read_tasks
from updater.settings import load_settings

CONFIG = Path(__file__).parents[2] / "configs" / "quality.toml"


def test_every_task_has_three_that_are_nobody_elses():
    settings = load_settings(CONFIG, environ={})
    tasks = read_tasks(settings.evaluation.tasks)
    rounds = paraphrased_tasks(settings, tasks)

    assert [[task.name for task in one] for one in rounds] == [[task.name for task in tasks]] * 3
    asked = [task.query for one in rounds for task in one]
    assert len(set(asked)) == len(asked) == 3 * len(tasks)
    assert not set(asked) & {question(settings, task).query for task in tasks}
    # Only the words change.
    assert all(new.rule == old.rule for one in rounds for new, old in zip(one, tasks, strict=True))


@pytest.mark.parametrize(("count", "rounds"), [(0, 0), (2, 2), (9, 3)])
def test_as_many_are_asked_as_the_config_says_and_there_are(count, rounds):
    settings = load_settings(CONFIG, environ={"UPDATER_EVALUATION__PARAPHRASES": str(count)})
    assert len(paraphrased_tasks(settings, read_tasks(settings.evaluation.tasks))) == rounds
