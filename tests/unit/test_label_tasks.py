"""Label tasks as they are declared: values that are refused, files of tasks, and the question of each."""

import dataclasses
import math
import re
from pathlib import Path

import pytest

from updater.domain.values import bare, field_types
from updater.errors import ConfigError
from updater.labels.definitions import KINDS, Occurs, ShareIncreases
from updater.labels.tasks import Task, question, read_tasks
from updater.settings import load_settings

COMPLETE_JOURNEY = Path(__file__).parents[2] / "configs" / "tasks" / "completejourney.toml"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "ocurs"}, "did you mean 'occurs'"),
        ({"name": "Visit"}, "lower-case"),
        ({"parameters": {"modality": "bill"}}, r"task 'visit': config key 'parameters.active_in' is missing"),
        ({"parameters": {"modality": "bill", "active_in": "bill", "horizon": 3}}, "did you mean 'horizon_days'"),
        ({"parameters": {"modality": "bill", "active_in": "bill", "value": "x"}}, "go together"),
        ({"parameters": {"modality": "bill", "active_in": "bill", "history": "no"}}, "'any', 'none' or 'some'"),
        ({"parameters": {"modality": "bill", "active_in": "bill", "duration": "amount"}}, "go together"),
        ({"parameters": {"modality": "bill", "active_in": "bill", "max_duration_days": 3}}, "go together"),
        ({"kind": "changes", "parameters": {"modality": "bill", "least": 1.0}}, "exactly one"),
        (
            {"kind": "changes", "parameters": {"modality": "bill", "least": 1.0, "rises_to": 2.0, "mean": True}},
            "column",
        ),
    ],
)
def test_a_wrong_declaration_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        Task(**{"name": "visit", "domain": "risk", "kind": "occurs", **changed})


VALID = {
    "occurs": {"modality": "bill", "active_in": "bill"},
    "lapses": {"modality": "bill"},
    "changes": {"modality": "bill", "least": 1.0, "rises_to": 2.0},
    "tries_new_categories": {"modality": "bill", "column": "category"},
    "share": {"modality": "bill", "part": "saved", "rest": "amount", "at_least": 0.5},
    "share_increases": {
        "modality": "bill", "amount": "amount", "column": "category", "value": "x", "increases_by": 0.1, "least": 1.0
    },
}  # fmt: skip


def wrong_values():
    """Every number of every kind, with values out of its range."""
    for kind, rule in KINDS.items():
        for field in dataclasses.fields(rule):
            if field.name.endswith("_days"):
                wrong = [-1, 36_501, 1.5] if field.name == "max_duration_days" else [0, -1, 36_501, 1.5, True]
            elif field.name in ("num_categories", "least_events") or (field.name == "at_least" and kind != "share"):
                wrong = [0, -3, 2.5]
            elif field.name in ("at_least", "increases_by"):
                wrong = [0.0, -0.1, 1.01, math.inf, math.nan, "half"]
            elif field.name == "falls_below":
                wrong = [-0.1, 1.01, math.nan]
            elif field.name in ("least", "rises_to"):
                wrong = [-1.0, math.inf, math.nan]
            else:
                continue
            yield from ((kind, field.name, value) for value in wrong)


@pytest.mark.parametrize(("kind", "name", "value"), [*wrong_values()])
def test_a_number_out_of_its_range_is_refused_with_the_name_of_its_task(kind, name, value):
    Task(name="t", domain="risk", kind=kind, parameters=VALID[kind])
    with pytest.raises(ConfigError, match=rf"^task 't': parameters\.{name} is {re.escape(repr(value))}; use a"):
        Task(name="t", domain="risk", kind=kind, parameters={**VALID[kind], name: value})


def test_no_number_of_a_kind_is_without_a_range():
    numbers = {
        (kind, name)
        for kind, rule in KINDS.items()
        for name, hint in field_types(rule).items()
        if bare(hint) in (int, float)
    }
    assert numbers == {(kind, name) for kind, name, _ in wrong_values()}


def test_the_tasks_of_complete_journey_cover_three_domains_and_a_family_with_unseen_members():
    tasks = {task.name: task for task in read_tasks(COMPLETE_JOURNEY)}

    assert {task.domain for task in tasks.values()} == {"engagement", "risk", "marketing"}
    assert {"visit_next_7d", "lapse_28d", "first_buy_deli", "rebuy_yogurt", "will_buy_candy_checklane_28d"} <= set(
        tasks
    )
    assert tasks["rebuy_yogurt"].parameters["value"] == "YOGURT"
    unseen = {task.name for task in tasks.values() if task.unseen}
    assert unseen == {
        f"will_buy_{name}_28d" for name in ("cat_food", "tropical_fruit", "laundry_detergents", "seafood_frozen")
    }


def test_each_task_of_complete_journey_has_a_question():
    settings = load_settings(COMPLETE_JOURNEY.parents[1] / "quality.toml", {})
    tasks = {task.name: task for task in read_tasks(settings.evaluation.tasks)}
    asked = {name: question(settings, task) for name, task in tasks.items()}

    [lapse] = [scenario for scenario in settings.scenarios if scenario.name == "lapse"]
    assert (asked["lapse_28d"].query, asked["lapse_28d"].scenario) == (lapse.query, "lapse")
    assert asked["will_buy_cat_food_28d"].query == "CAT FOOD item events in the next 28 days?"
    assert asked["will_buy_eggs_28d"].scenario == "will_buy_eggs"
    assert asked["will_buy_cat_food_28d"].scenario == tasks["will_buy_eggs_28d"].shared_scenario == "will_buy"
    family = [name for name in asked if name.startswith("will_buy_")]
    assert len(family) == len({asked[name].query for name in family}) == 18


def test_former_names_in_a_task_file_are_read_with_a_warning(tmp_path, caplog):
    path = tmp_path / "tasks.toml"
    path.write_text(
        """
        [[tasks]]
        name = "brand"
        domain = "marketing"
        kind = "shifts"
        parameters = { modality = "bill", amount = "a", column = "c", value = "v", rises_by = 0.2, least = 1.0 }
        [[families]]
        name = "buys_{value}"
        domain = "marketing"
        kind = "happens"
        parameters = { modality = "bill", column = "c", active_in = "bill" }
        values = ["x"]
        """,
        encoding="utf-8",
    )
    share = ShareIncreases(modality="bill", amount="a", column="c", value="v", increases_by=0.2, least=1.0)
    occurs = Occurs(modality="bill", column="c", value="x", active_in="bill")
    assert [task.rule for task in read_tasks(path)] == [share, occurs]
    reported = [record.getMessage().partition(" of ")[0] for record in caplog.records]
    assert reported == ["kind 'shifts'", "config key 'parameters.rises_by'", "kind 'happens'"]


def test_a_task_without_a_question_is_refused(make_settings):
    task = Task(name="t", domain="risk", kind="lapses", parameters={"modality": "bill"}, scenario="nowhere")
    with pytest.raises(ConfigError, match="task 't' has no query, and 'nowhere' is not a scenario"):
        question(make_settings(), task)


def test_a_task_file_that_repeats_a_name_or_is_none_is_refused(tmp_path):
    path = tmp_path / "tasks.toml"
    path.write_text('[[tasks]]\nname = "a"\ndomain = "d"\nkind = "lapses"\nparameters = { modality = "bill" }\n' * 2)
    with pytest.raises(ConfigError, match="'a' is declared twice"):
        read_tasks(path)
    path.write_text("[[task]]")
    with pytest.raises(ConfigError, match="did you mean 'tasks'"):
        read_tasks(path)
    path.write_text('[[amounts]]\nmodality = "bill"\ncolumn = "category"\namount = "amount"\nnum_days = 91\n')
    with pytest.raises(ConfigError, match=r"amounts\.0\.num_days is 91; use a whole number from 1 to 90"):
        read_tasks(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tasks(tmp_path / "absent.toml")
