"""Labels, baselines and training know the events that the daily update knows, by one set of rules."""

from datetime import date

import pytest

from tests.deployment import Deployment
from tests.evaluation_lake import events_of
from tests.factories import MODALITIES, bill, land_rows
from updater.domain.window import day_window
from updater.errors import ConfigError, NotLandedError
from updater.evaluation.systems.baselines import commonest, rfm_features
from updater.labels.tables import label_tables
from updater.labels.tasks import Task
from updater.pipeline.erase.run import erase

ANCHOR, LAST = date(2024, 5, 3), date(2024, 5, 5)
VISITS = Task(
    name="visits",
    domain="risk",
    kind="occurs",
    parameters={"modality": "bill", "active_in": "bill", "history_days": 3, "horizon_days": 2},
)
SHOPS = Task(
    name="shops",
    domain="risk",
    kind="occurs",
    parameters={**VISITS.parameters, "column": "merchant", "value": "kiosk"},
)


@pytest.fixture
def made(tmp_path):
    """Users a, b and c with an event a day from the first of May to the fifth."""
    made = Deployment.create(
        tmp_path, modalities=MODALITIES[:1], buffer={"num_buckets": 3}, limits={"max_rejected_share": 0.9}
    )
    for day in range(1, 6):
        ds = f"2024-05-{day:02}"
        land_rows(made.lake, "bill", ds, [bill(user, f"{user}{day}", f"{ds} 10:00:00") for user in "abc"])
    return made


def labels(made, task=VISITS):
    with events_of(made.settings) as events:
        table = label_tables(events, [task], [ANCHOR])[task.name]
    return dict(zip(table["user_id"].to_pylist(), table["label"].to_pylist(), strict=True))


def features(made):
    with events_of(made.settings) as events:
        found = rfm_features(events, [ANCHOR])
    users = found.users.tolist()
    assert len(set(users)) == len(users)
    return {user: row.tolist() for user, row in zip(users, found.values, strict=True)}


def test_an_erased_user_occurs_in_no_label_and_no_baseline(made):
    assert set(labels(made)) == set(features(made)) == {"a", "b", "c"}

    erase(made.context, ["b"])

    assert set(labels(made)) == set(features(made)) == {"a", "c"}
    assert set(labels(made, SHOPS)) == {"a", "c"}


def test_a_user_who_was_erased_before_anything_landed_stays_out(made):
    erase(made.context, ["b"])
    assert set(labels(made)) == set(features(made)) == {"a", "c"}


def test_a_malformed_number_is_rejected_as_by_the_daily_update(made):
    rows = [bill("a", "x1", "2024-05-02 11:00:00", amount="12,5"), bill("b", "x2", "2024-05-02 11:00:00", amount="3")]
    land_rows(made.lake, "bill", "2024-05-02", rows, name="part-001.parquet")

    assert labels(made) == {"a": True, "b": True, "c": True}
    found = features(made)
    assert found["a"] == found["c"] != found["b"]
    assert made.context.ledger.partition("bill", date(2024, 5, 2)).num_rejected == 1


def test_what_lands_after_the_anchor_moves_no_feature_and_no_eligibility(made):
    before, commonest_before = features(made), _commonest(made)
    late = [
        bill("late", "l1", "2024-05-02 11:00:00", category="tea"),
        {**bill("a", "a2", "2024-05-02 10:00:00"), "op": "delete"},
        bill("b", "b2", "2024-05-02 10:00:00", amount=99.0),
    ]
    land_rows(made.lake, "bill", "2024-05-04", late, name="part-001.parquet")

    assert features(made) == before
    assert _commonest(made) == commonest_before
    assert "late" not in labels(made)


def test_an_answer_is_what_was_known_when_the_horizon_ended(made):
    # Each lands on the last day of the horizon, so it counts; what lands later does not.
    gone = [{**bill("a", f"a{day}", f"2024-05-{day:02} 10:00:00"), "op": "delete"} for day in (4, 5)]
    land_rows(made.lake, "bill", LAST, [bill("c", "c5", "2024-05-05 10:00:00"), gone[0]])
    land_rows(made.lake, "bill", "2024-05-06", [gone[1], bill("b", "b9", "2024-05-05 09:00:00")])

    assert labels(made) == {"a": False, "b": True, "c": True}


def test_a_text_column_that_event_files_do_not_keep_is_read_by_the_same_rules(made):
    rows = [
        bill("a", "k1", "2024-05-04 11:00:00", merchant="kiosk"),
        bill("b", "k2", "2024-05-04 11:00:00", merchant="kiosk", amount=float("inf")),
        bill("c", "k3", "2024-05-04 11:00:00", merchant="kiosk"),
    ]
    land_rows(made.lake, "bill", "2024-05-04", rows, name="part-001.parquet")
    corrected = bill("c", "k3", "2024-05-04 11:00:00", merchant="market")
    land_rows(made.lake, "bill", "2024-05-05", [corrected])

    assert labels(made, SHOPS) == {"a": True, "b": False, "c": False}


def test_a_snapshot_has_no_past_to_count(tmp_path):
    made = Deployment.create(tmp_path, modalities=[MODALITIES[0], MODALITIES[2]])
    with events_of(made.settings) as events, pytest.raises(ConfigError, match="'app' is a snapshot"):
        events.load_past("app", day_window(ANCHOR, "UTC"), 3, [])


def test_a_day_that_has_not_landed_is_refused(made):
    with (
        events_of(made.settings) as events,
        pytest.raises(NotLandedError, match="bill has not landed on 2024-05-06") as no,
    ):
        label_tables(events, [VISITS], [LAST])
    assert (no.value.modality, no.value.ds) == ("bill", date(2024, 5, 6))


def _commonest(made):
    with events_of(made.settings) as events:
        return commonest(events, [ANCHOR], "bill")
