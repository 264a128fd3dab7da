"""Label rules on a small lake: anchor 2024-03-01, a horizon of three days, and a history of ten."""

import dataclasses
import math
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.evaluation_lake import events_of
from tests.factories import MODALITIES, SCENARIOS, bill, land_rows, toml_text, utc
from updater.domain.values import bare, field_types
from updater.domain.window import days
from updater.errors import ConfigError, NotLandedError
from updater.labels.definitions import KINDS, Occurs, ShareIncreases
from updater.labels.known import known_at
from updater.labels.split import Split, is_held_out
from updater.labels.tables import LABELS_SCHEMA, label_tables
from updater.labels.tasks import Task, question, read_tasks
from updater.lake.partitions import join, mark_success
from updater.settings import load_settings

ANCHOR = date(2024, 3, 1)
COMPLETE_JOURNEY = Path(__file__).parents[2] / "configs" / "tasks" / "completejourney.toml"
BOUGHT = {"modality": "bill", "horizon_days": 3}


@pytest.fixture
def settings(tmp_path):
    modalities = [{**MODALITIES[0], "numeric": ["amount", "saved"]}, *MODALITIES[1:]]
    config = {"timezone": "Europe/Berlin", "modalities": modalities, "scenarios": SCENARIOS}
    (tmp_path / "updater.toml").write_text(toml_text(config))
    return load_settings(tmp_path / "updater.toml", {})


def land(settings, *rows):
    """Rows as (user, day and time in UTC, columns), each landed on its own local day; all days of March landed."""
    by_day = {}
    for number, (user, time, columns) in enumerate(rows):
        ds = columns.pop("ds", (utc(time) + timedelta(hours=1)).date().isoformat())
        row = bill(user, f"e{number}", time, saved=0.0, op="upsert")
        by_day.setdefault(ds, []).append({**row, **columns})
    for ds, landed in by_day.items():
        land_rows(settings.paths.lake, "bill", ds, landed)
    for ds in days(ANCHOR - timedelta(days=9), ANCHOR + timedelta(days=3)):
        mark_success(join(settings.paths.lake, "bill"), ds)


def labels(settings, kind, **parameters):
    task = Task(name="t", domain="risk", kind=kind, parameters=parameters)
    with events_of(settings) as events:
        table = label_tables(events, [task], [ANCHOR])["t"]
    assert table.schema == LABELS_SCHEMA
    return dict(zip(table["user_id"].to_pylist(), table["label"].to_pylist(), strict=True))


def test_visits_are_counted_from_the_end_of_the_local_anchor_day(settings):
    land(
        settings,
        *[(user, "2024-03-01 22:59:59", {}) for user in ("past", "next", "late", "both")],
        ("next", "2024-03-01 23:00:00", {}),
        ("both", "2024-03-02 10:00:00", {}),
        ("both", "2024-03-04 22:59:59", {}),
        ("late", "2024-03-04 23:00:00", {}),
        ("new", "2024-03-03 10:00:00", {}),
        ("stale", "2024-02-20 12:00:00", {}),
    )
    visits = {"active_in": "bill", "history_days": 10, **BOUGHT}

    assert labels(settings, "occurs", **visits) == {"past": False, "next": True, "late": False, "both": True}
    assert labels(settings, "occurs", **visits, at_least=2) == {
        "past": False,
        "next": False,
        "late": False,
        "both": True,
    }


def test_event_timestamp_is_the_first_instant_at_which_the_anchor_day_is_known(settings):
    land(settings, ("a", "2024-03-01 10:00:00", {}))
    task = Task(name="t", domain="risk", kind="lapses", parameters={"modality": "bill", "horizon_days": 3})

    with events_of(settings) as events:
        [row] = label_tables(events, [task], [ANCHOR])["t"].to_pylist()
    assert row["anchor"] == ANCHOR
    assert row["event_timestamp"].astimezone(UTC) == datetime(2024, 3, 1, 23, tzinfo=UTC)


def test_first_and_repeated_purchases(settings):
    land(
        settings,
        ("had", "2024-02-28 10:00:00", {"category": "fish"}),
        ("had", "2024-03-02 10:00:00", {"category": "fish"}),
        ("first", "2024-02-28 10:00:00", {}),
        ("first", "2024-03-02 10:00:00", {"category": "fish"}),
        ("never", "2024-02-28 10:00:00", {}),
    )
    fish = {"active_in": "bill", "column": "category", "value": "fish", "history_days": 10, **BOUGHT}

    assert labels(settings, "occurs", **fish, history="none") == {"first": True, "never": False}
    assert labels(settings, "occurs", **fish, history="some") == {"had": True}
    assert labels(settings, "occurs", **fish) == {"had": True, "first": True, "never": False}


def test_an_event_that_lasts_makes_eligible_as_long_as_it_had_not_ended(settings):
    land(
        settings,
        ("live", "2024-02-27 10:00:00", {"amount": 3.0}),
        ("over", "2024-02-27 10:00:00", {"amount": 2.0}),
    )
    parameters = {"active_in": "bill", "duration": "amount", "max_duration_days": 5, "history_days": 1, **BOUGHT}

    assert labels(settings, "occurs", **parameters) == {"live": False}


def test_what_is_deleted_corrected_or_late_counts_as_it_was_known(settings):
    land(
        settings,
        ("gone", "2024-02-28 10:00:00", {"event_id": "x"}),
        ("gone", "2024-02-28 10:00:00", {"event_id": "x", "op": "delete", "ds": "2024-02-29"}),
        ("kept", "2024-02-28 10:00:00", {"event_id": "y"}),
        ("kept", "2024-02-28 10:00:00", {"event_id": "y", "op": "delete", "ds": "2024-03-02"}),
        ("kept", "2024-02-29 10:00:00", {"event_id": "late", "ds": "2024-03-02"}),
    )
    assert labels(settings, "lapses", modality="bill", active_days=10, horizon_days=3) == {"kept": True}


def test_changes_compare_with_the_former_level_per_horizon(settings):
    paid = {"low": 6.0, "half": 9.0, "same": 18.0, "poor": 1.0}
    land(
        settings,
        *[(user, f"2024-02-{day} 10:00:00", {"amount": 18.0}) for user in ("low", "half", "same") for day in (25, 28)],
        ("poor", "2024-02-25 10:00:00", {}),
        *[(user, "2024-03-02 10:00:00", {"amount": amount}) for user, amount in paid.items()],
    )
    change = {"modality": "bill", "base_days": 6, "horizon_days": 3, "column": "amount", "least": 9.0}

    assert labels(settings, "changes", **change, falls_below=1.0) == {"low": True, "half": True, "same": False}
    assert labels(settings, "changes", **change, falls_below=0.5) == {"low": True, "half": False, "same": False}
    assert labels(settings, "changes", **change, rises_to=0.5) == {"low": False, "half": True, "same": True}
    count = {**change, "column": "", "least": 2.0, "rises_to": 1.0}
    assert labels(settings, "changes", **count) == {}
    assert labels(settings, "changes", **count, or_active=True) == {"low": True, "half": True, "same": True}


def test_a_mean_is_compared_event_by_event(settings):
    land(
        settings,
        *[(user, f"2024-02-{day} 10:00:00", {"amount": 10.0}) for user in ("more", "same", "gone") for day in (25, 28)],
        ("once", "2024-02-28 10:00:00", {}),
        ("more", "2024-03-02 10:00:00", {"amount": 13.0}),
        *[("same", f"2024-03-0{day} 10:00:00", {"amount": 11.0}) for day in (2, 3)],
    )
    mean = {"modality": "bill", "column": "amount", "mean": True, "base_days": 6, "horizon_days": 3}

    found = labels(settings, "changes", **mean, rises_to=1.25, least=2.0)
    assert found == {"more": True, "same": False, "gone": False}


def test_new_categories(settings):
    land(
        settings,
        *[("a", "2024-02-28 10:00:00", {"category": name}) for name in ("fish", "milk", "milk")],
        *[("b", "2024-02-28 10:00:00", {"category": name}) for name in ("milk", "tea", "tea")],
        ("few", "2024-02-28 10:00:00", {"category": "milk"}),
        *[("a", "2024-03-02 10:00:00", {"category": name}) for name in ("milk", "tea", "soap")],
        *[("b", "2024-03-02 10:00:00", {"category": name}) for name in ("milk", "tea", "soap")],
    )
    explore = {"column": "category", "at_least": 1, "least_events": 2, "history_days": 10, **BOUGHT}

    assert labels(settings, "tries_new_categories", **explore) == {"a": True, "b": False}
    assert labels(settings, "tries_new_categories", **explore, num_categories=1) == {"a": False, "b": False}


def test_shares(settings):
    land(
        settings,
        *[(user, "2024-02-28 10:00:00", {"category": "own", "amount": 5.0}) for user in ("a", "b", "absent")],
        *[(user, "2024-02-28 10:00:00", {"amount": 5.0}) for user in ("a", "b", "absent")],
        ("poor", "2024-02-28 10:00:00", {"amount": 1.0}),
        ("a", "2024-03-02 10:00:00", {"category": "own", "amount": 8.0, "saved": 2.0}),
        ("b", "2024-03-02 10:00:00", {"amount": 9.0, "saved": 1.0}),
    )
    saved = {"part": "saved", "rest": "amount", "active_days": 10, **BOUGHT}
    moved = {"amount": "amount", "column": "category", "value": "own", "least": 10.0, "history_days": 10, **BOUGHT}

    assert labels(settings, "share", **saved, at_least=0.2) == {"a": True, "b": False, "absent": False, "poor": False}
    assert labels(settings, "share_increases", **moved, increases_by=0.5) == {"a": True, "b": False, "absent": False}
    assert labels(settings, "share_increases", **moved, increases_by=0.6) == {"a": False, "b": False, "absent": False}


def test_a_horizon_that_has_not_landed_is_refused_not_labelled_false(settings):
    land(settings, ("a", "2024-03-01 10:00:00", {}))

    with pytest.raises(NotLandedError, match="bill has not landed on 2024-03-05"):
        labels(settings, "lapses", modality="bill", horizon_days=4)


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


def test_an_unknown_column_or_modality_is_refused(settings):
    with pytest.raises(ConfigError, match="no column 'categry'; did you mean 'category'"):
        labels(settings, "tries_new_categories", modality="bill", column="categry")
    with pytest.raises(ConfigError, match="modality 'bil' is not declared"):
        labels(settings, "lapses", modality="bil")


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
    told = [record.getMessage().partition(" of ")[0] for record in caplog.records]
    assert told == ["kind 'shifts'", "config key 'parameters.rises_by'", "kind 'happens'"]


def test_a_task_without_a_question_is_refused(settings):
    task = Task(name="t", domain="risk", kind="lapses", parameters={"modality": "bill"}, scenario="nowhere")
    with pytest.raises(ConfigError, match="task 't' has no query, and 'nowhere' is not a scenario"):
        question(settings, task)


def test_labels_are_known_when_their_horizon_ends(settings):
    task = Task(name="t", domain="risk", kind="lapses", parameters={"modality": "bill", "horizon_days": 3})
    assert known_at(settings, task, ANCHOR) == datetime(2024, 3, 4, 23, tzinfo=UTC)


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


def test_no_label_window_reaches_into_the_next_part():
    first, second = date(2024, 1, 1), date(2024, 1, 29)
    Split(train=(first,), test=(second,))

    with pytest.raises(ConfigError, match="reach to 2024-01-30, beyond anchor 2024-01-29"):
        Split(train=(first, first + timedelta(days=1)), test=(second,))
    with pytest.raises(ConfigError, match="beyond anchor"):
        Split(train=(first,), validation=(second,), test=(second,))


def test_a_fifth_of_the_users_is_held_out_and_always_the_same():
    held_out = is_held_out(str(user) for user in range(5_000))

    assert held_out.mean() == pytest.approx(0.2, abs=0.02)
    assert is_held_out(["1", "9", "17", "42"]).tolist() == held_out[[1, 9, 17, 42]].tolist()
