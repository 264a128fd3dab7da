from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.evaluation_lake import events_of
from tests.factories import MODALITIES, SCENARIOS, bill, land_rows, toml_text, utc
from updater.errors import ConfigError
from updater.evaluation.systems import baselines
from updater.evaluation.systems.baselines import Groups
from updater.settings import load_settings

ANCHOR = date(2024, 3, 1)


@pytest.fixture
def settings(tmp_path):
    modalities = [*MODALITIES[:2], {**MODALITIES[2], "category": "app"}]
    (tmp_path / "updater.toml").write_text(toml_text({"modalities": modalities, "scenarios": SCENARIOS}))
    settings = load_settings(tmp_path / "updater.toml", {})
    lake = settings.paths.lake
    app = {"user_id": "a", "event_id": "x", "event_time": utc("2024-02-01")}
    land_rows(lake, "app", "2024-02-01", [{**app, "app": "old"}])
    land_rows(lake, "app", "2024-02-20", [{**app, "app": "map"}])
    land_rows(lake, "bill", "2023-12-02", [bill("b", "1", "2023-12-02", amount=9.0)])
    land_rows(lake, "bill", "2023-12-03", [bill("b", "2", "2023-12-03", amount=5.0, category="fish")])
    two = [bill("a", "3", "2024-02-28 01:00:00", amount=-3.0), bill("a", "4", "2024-02-28 02:00:00", amount=1.0)]
    land_rows(lake, "bill", "2024-02-28", two)
    land_rows(lake, "bill", "2024-03-01", [bill("a", "5", "2024-03-01 23:59:59", category="fish")])
    return settings


def rfm_features(settings, *args):
    with events_of(settings) as events:
        return baselines.rfm_features(events, *args)


def commonest(settings, *args):
    with events_of(settings) as events:
        return baselines.commonest(events, *args)


def row(features, user):
    values = np.expm1(features.values[features.users.tolist().index(user)])
    return dict(zip(features.names, values.round(6), strict=True))


def test_recency_frequency_and_money_of_each_window(settings):
    features = rfm_features(settings, [ANCHOR])

    assert features.users.tolist() == ["a", "b"]
    assert features.anchors.tolist() == [ANCHOR, ANCHOR]
    a, b = row(features, "a"), row(features, "b")
    assert (a["bill:days_since"], b["bill:days_since"], a["search:days_since"]) == (0, 89, 90)
    assert (a["bill:events_7d"], a["bill:active_days_7d"], b["bill:events_7d"]) == (3, 2, 0)
    assert (b["bill:events_90d"], b["bill:amount_90d"]) == (1, 5.0)
    assert a["bill:weekly_deviation"] == pytest.approx(np.std([3] + [0] * 11), abs=1e-5)
    assert (a["app:is map"], b["app:is map"]) == (1, 0)
    assert "app:is old" not in a
    signed = features.values[0, features.names.index("bill:amount_7d")]
    assert signed == pytest.approx(-np.log1p(1.0))


def test_nothing_that_lands_after_the_anchor_is_even_opened(settings):
    before = rfm_features(settings, [ANCHOR])
    late = bill("a", "6", "2024-02-29 12:00:00", amount=100.0)
    land_rows(settings.paths.lake, "bill", "2024-03-02", [late, bill("c", "7", "2024-03-02")])
    land_rows(
        settings.paths.lake,
        "app",
        "2024-03-02",
        [{"user_id": "a", "event_id": "x", "event_time": utc("2024-03-02"), "app": "new"}],
    )
    Path(settings.paths.lake, "bill", "ds=2024-03-02", "part-001.parquet").write_bytes(b"no parquet")

    after = rfm_features(settings, [ANCHOR])
    assert after.names == before.names
    assert (after.values == before.values).all()
    assert commonest(settings, [ANCHOR], "bill") == ("dairy", "fish")


def test_groups_count_and_sum_by_value_and_unknown_values_stay_out(settings):
    groups = [
        Groups("bill", "category", ("fish", "tea")),
        Groups("bill", "category", ("dairy",), amount="amount", num_days=28),
    ]
    a, b = (row(rfm_features(settings, [ANCHOR], groups), user) for user in "ab")

    assert [x["bill:events_90d where category is fish"] for x in (a, b)] == [1, 1]
    assert [x["bill:events_90d where category is tea"] for x in (a, b)] == [0, 0]
    assert b["bill:amount_28d where category is dairy"] == 0
    assert "bill:events_90d where category is dairy" not in a


def test_decayed_counts_weigh_each_event_by_its_age(settings):
    groups = [Groups("bill", "category", ("fish", "dairy"), half_life_days=21.0)]
    a, b = (row(rfm_features(settings, [ANCHOR], groups), user) for user in "ab")

    name = "bill:events_90d halved every 21d where category is "
    # a: fish on the anchor's day, dairy twice two days before; b: fish 89 days before, and dairy a day too old.
    assert (a[name + "fish"], a[name + "dairy"]) == (1, pytest.approx(2 * 0.5 ** (2 / 21), abs=1e-6))
    assert (b[name + "fish"], b[name + "dairy"]) == (pytest.approx(0.5 ** (89 / 21), abs=1e-6), 0)


def test_rows_follow_the_labels_and_a_user_without_events_is_as_stale_as_can_be(settings):
    features = rfm_features(settings, [ANCHOR, date(2024, 2, 29)])
    labels = pa.table({"user_id": ["b", "nobody", "a"], "anchor": [ANCHOR, ANCHOR, date(2024, 2, 29)]})

    rows = np.expm1(features.rows_of(labels)).round(6)
    assert rows[:, features.names.index("bill:days_since")].tolist() == [89, 90, 1]
    assert rows[:, features.names.index("bill:events_90d")].tolist() == [1, 0, 2]


def test_groups_longer_than_the_history_are_refused():
    with pytest.raises(ConfigError, match="span 91 days; use 1 to 90"):
        Groups("bill", "category", (), num_days=91)
