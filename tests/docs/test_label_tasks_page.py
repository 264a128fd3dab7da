"""docs/label_tasks.md against the program: its example loads, and every parameter stands there with its default."""

import dataclasses
import re
from pathlib import Path

import pytest

from updater.domain.declared.training import Training
from updater.labels.definitions import KINDS
from updater.labels.tasks import Amount, Family, Task, question, read_task_file, read_tasks
from updater.settings import load_settings
from updater.training.useru.facts.focus import Focus
from updater.training.useru.facts.future import QUESTION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "label_tasks.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path):
    [block] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "tasks.toml"
    path.write_text(block, encoding="utf-8")
    return path


def test_the_example_fits_the_config_that_it_names(example):
    settings = load_settings(ROOT / "configs" / "local.toml", {})
    tasks = {task.name: task for task in read_tasks(example)}

    assert [*tasks] == ["lapse_28d", "spends_less", "will_buy_groceries", "will_buy_coffee", "will_buy_flights"]
    assert [task.name for task in tasks.values() if task.unseen] == ["will_buy_flights"]
    assert all(question(settings, task).query for task in tasks.values())
    for task in tasks.values():
        for read in (*task.rule.past(), *task.rule.next()):
            assert set(read.columns) <= set(settings.modality(read.modality).columns)
    [amount] = read_task_file(example).amounts
    assert {amount.column, amount.amount} <= set(settings.modality(amount.modality).columns)


def rows():
    """Kind, parameters and default of each row of the table of parameters."""
    kind = ""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4:
            kind = cells[0].strip("`") or kind
            yield kind, re.findall(r"`(\w+)`", cells[1]), cells[2].strip("`").strip('"')


def test_every_parameter_of_every_kind_stands_there_with_its_default():
    said = {(kind, name): default for kind, names, default in rows() for name in names}
    wanted = {}
    for kind, rule in KINDS.items():
        for field in dataclasses.fields(rule):
            shown = "required" if field.default is dataclasses.MISSING else str(field.default) or "none"
            wanted[kind, field.name] = shown.lower() if isinstance(field.default, bool) else shown
    assert said == wanted


@pytest.mark.parametrize("kind", [Task, Family, Amount])
def test_every_key_of_the_tables_stands_there(kind):
    # A task's family is not written down: the family makes the task.
    names = {field.name for field in dataclasses.fields(kind)} - {"family"}
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


def test_the_wordings_are_those_of_the_training_data():
    days = Training().future_days
    asked = [
        Focus("events", "bill", days=days),
        Focus("events", "bill", "dairy", days=days),
        Focus("days", "bill", days=days),
        Focus("total", "bill", column="amount", days=days),
        Focus("kinds", "bill", days=days),
        Focus("new_kinds", "bill", days=days),
        Focus("change", "bill", column="number", days=days),
        Focus("change", "bill", column="amount", days=days),
    ]
    wordings = [*(focus.question for focus in asked), QUESTION.format(days=days)]
    assert [wording for wording in wordings if f"| `{wording}` |" not in PAGE] == []
    assert f"{days + 2 * days + 90} with the defaults of 90 and {days}" in PAGE
