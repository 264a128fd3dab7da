"""Label rules on a small lake: anchor 2024-03-01, a horizon of three days, and a history of ten."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.evaluation_lake import events_of
from tests.factories import MODALITIES, SCENARIOS, bill, land_rows, toml_text, utc
from updater.domain.window import days
from updater.errors import ConfigError, NotLandedError
from updater.labels.known import known_at
from updater.labels.split import Split, is_held_out
from updater.labels.tables import LABELS_SCHEMA, label_tables
from updater.labels.tasks import Task
from updater.lake.partitions import join, mark_success
from updater.settings import load_settings

ANCHOR = date(2024, 3, 1)
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


def test_an_unknown_column_or_modality_is_refused(settings):
    with pytest.raises(ConfigError, match="no column 'categry'; did you mean 'category'"):
        labels(settings, "tries_new_categories", modality="bill", column="categry")
    with pytest.raises(ConfigError, match="modality 'bil' is not declared"):
        labels(settings, "lapses", modality="bil")


def test_labels_are_known_when_their_horizon_ends(settings):
    task = Task(name="t", domain="risk", kind="lapses", parameters={"modality": "bill", "horizon_days": 3})
    assert known_at(settings, task, ANCHOR) == datetime(2024, 3, 4, 23, tzinfo=UTC)


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
