"""The page about a deployment: what facts become. No state, no clock."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from updater.domain.declared.alerts import Alert, Measured
from updater.pipeline.daily.dry_run import DryRun
from updater.pipeline.monitor.health import Health, ModalityHealth, ScenarioHealth
from updater.pipeline.monitor.status import StatusReport
from updater.report import charts
from updater.report.facts import Evaluation, Facts, NextDay, Rejected, Version
from updater.report.html import render, render_error
from updater.report.view import view

LIMITS = {
    "max_hours_since_as_of": 36.0,
    "max_days_since_last_event": 14.0,
    "max_changed_share_factor": 4.0,
    "max_rejected_share_window": 0.01,
    "min_day_cosine": 0.7,
    "max_mean_shift": None,
    "max_mismatch_share": 0.0,
}


def window(ds: str, users: int, seconds: float, share: float) -> dict[str, Any]:
    return {
        "ds": ds,
        "modalities": [
            {"modality": "bill", "rows": 7, "rejected": 2, "changed_users": users},
            {"modality": "visit", "rows": 1, "rejected": 0, "changed_users": users // 4},
        ],
        "changed_users": users,
        "changed_summaries": users + users // 4,
        "prefixes": users,
        "share": share,
        "texts_encoded": 3,
        "seconds": {
            "materialize": seconds / 4,
            "detect": seconds / 4,
            "encode": 0.0,
            "refresh": seconds / 2,
            "publish": 0.0,
        },
    }


def health(**changes: Any) -> Health:
    values: dict[str, Any] = {
        "ds": "2024-03-03",
        "as_of": "2024-03-04T00:00:00+00:00",
        "changed_users": 20,
        "active_users": 100,
        "changed_share": 0.2,
        "usual_changed_share": 0.25,
        "modalities": [
            ModalityHealth("bill", "2024-03-04", "2024-03-03", "2024-03-03T12:00:00+00:00", 0.5, 7, 2, 2 / 7),
            ModalityHealth("app", None, None, None, None, 0, 0, 0.0),
        ],
        "scenarios": [
            ScenarioHealth("lapse", "2024-03-04T00:00:00+00:00", 30.0, 20, 0.9, 0.1),
            ScenarioHealth("new_one", None, None, 0, None, None),
        ],
    }
    return Health(**{**values, **changes})


def facts(**changes: Any) -> Facts:
    versions = [
        Version(1, "v1-a", False, False, True, "2024-01-01T00:00:00+00:00", None),
        Version(2, "v2-b", True, True, False, "2024-02-01T00:00:00+00:00", Evaluation({"base": 0.75}, 4, ["Worse."])),
    ]
    values: dict[str, Any] = {
        "config": "shop/updater.toml",
        "timezone": "UTC",
        "now": "2024-03-05T06:00:00+00:00",
        "version": "0.1",
        "status": StatusReport("2024-03-03", "v2-b", True, waiting=["2024-03-04"], health=health()),
        "first_window": date(2024, 3, 1),
        "windows": [
            window("2024-03-01", 100, 80.0, 1.0),
            window("2024-03-02", 25, 6.0, 0.25),
            window("2024-03-03", 20, 4.0, 0.2),
        ],
        "rejected": [Rejected(date(2024, 3, 3), "bill", 7, 2, {"user_id is <null>": 2})],
        "thresholds": LIMITS,
        "measured": [
            Measured("max_rejected_share_window", 0.001, "bill"),
            Measured("max_rejected_share_window", 0.3, "visit"),
            Measured("min_day_cosine", 0.9, "lapse"),
            Measured("min_day_cosine", 0.8, "takeout"),
            Measured("max_changed_share_factor", 0.5, "half"),
            Measured("max_mean_shift", 0.1, "lapse"),
        ],
        "versions": versions,
        "next_day": NextDay(date(2024, 3, 4), True, None, ""),
    }
    return Facts(**{**values, **changes})


def test_the_worst_value_stands_beside_each_threshold() -> None:
    rows = {row[-1]: row for row in view(facts()).thresholds.rows}
    assert list(rows) == list(LIMITS)
    assert rows["max_rejected_share_window"][1:5] == ("at most 0.01", "0.3", "kept", "visit")
    assert rows["min_day_cosine"][1:5] == ("at least 0.7", "0.8", "kept", "takeout")
    assert rows["max_changed_share_factor"][1:5] == ("0.25 to 4", "0.5", "kept", "half")
    assert rows["max_mean_shift"][1] == "none"
    assert rows["max_mismatch_share"][2:4] == ("–", "not measured")


def test_the_farthest_factor_is_the_worst_in_either_direction() -> None:
    factors = [Measured("max_changed_share_factor", value, f"x{value}") for value in (0.2, 1.0, 4.5)]
    worst = {row[-1]: row for row in view(facts(measured=factors)).thresholds.rows}["max_changed_share_factor"]
    assert worst[4] == "x0.2"
    nothing = [*factors, Measured("max_changed_share_factor", 0.0, "nobody")]
    worst = {row[-1]: row for row in view(facts(measured=nothing)).thresholds.rows}["max_changed_share_factor"]
    assert worst[4] == "nobody"


def test_what_is_exceeded_comes_first_and_is_marked() -> None:
    alert = Alert("max_hours_since_as_of", 24.0, 30.0, "as_of 2024-03-04")
    found = view(facts(status=replace(facts().status, health=health(alerts=[alert]))))
    assert found.exceeded == (
        "hours since the end of the newest window: 30, and the threshold is at most 24 (as_of 2024-03-04).",
    )
    assert {tile.name: tile.bad for tile in found.tiles if tile.bad} == {"Freshness": True, "Alerts": True}
    assert {tile.name: tile.value for tile in found.tiles}["Freshness"] == "30.0 hours"
    page = render(found)
    assert page.index("Thresholds that are exceeded") < page.index("<h2>")
    assert "No alert threshold is exceeded" in render(view(facts()))


def test_the_first_window_is_in_the_tables_and_not_in_the_pictures() -> None:
    found = view(facts())
    assert "2024-03-01" in found.undrawn
    assert [row[0] for row in found.windows.rows] == ["2024-03-03", "2024-03-02", "2024-03-01"]
    assert [bar.said for bar in found.pictures[0].bars] == ["2024-03-02: 25", "2024-03-03: 20"]
    alone = view(facts(windows=facts().windows[:1]))
    assert (alone.undrawn, len(alone.pictures[0].bars)) == ("", 1)


def test_steps_are_in_the_order_of_a_window_whatever_order_the_ledger_has() -> None:
    assert view(facts()).steps.head == ("day", "detect", "encode", "refresh", "publish", "materialize", "all")
    assert view(facts()).steps.rows[0] == ("2024-03-03", "1.0", "0.0", "2.0", "0.0", "1.0", "4.0")


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (NextDay(date(2024, 3, 4), False, None, ""), "2024-03-04 has not landed in every required modality."),
        (NextDay(date(2024, 3, 4), True, None, "An erasure runs."), "it would be refused now: An erasure runs."),
        (NextDay(date(2024, 3, 4), True, None, ""), "was not planned for this page."),
        (NextDay(date(2024, 3, 4), True, DryRun("2024-03-04"), ""), "no rate to tell the time by"),
    ],
)
def test_the_next_day_is_said_whatever_is_known_of_it(day: NextDay, said: str) -> None:
    found = view(facts(next_day=day)).next_day
    assert found is not None
    assert said in found.said[0]
    assert found.said[-1] == "2 earlier windows took 4.0 s to 6.0 s, in the median 5.0 s."


def test_windows_of_airflow_do_not_say_how_long_a_window_takes() -> None:
    windows = [window("2024-03-01", 100, 80.0, 1.0), window("2024-03-02", 25, 6.0, 0.25)]
    windows.append({**window("2024-03-03", 20, 4.0, 0.2), "seconds": {"publish": 0.1, "materialize": 0.2}})
    found = view(facts(windows=windows, next_day=NextDay(date(2024, 3, 4), False, None, ""))).next_day
    assert found is not None
    assert found.said[1:] == ("An earlier window took 6.0 s.",)


def test_a_planned_day_has_its_cost() -> None:
    plan = DryRun(
        "2024-03-04",
        modalities=[
            {
                "modality": "bill",
                "rows": 9,
                "rejected": 1,
                "changed_users": 30,
                "texts_to_encode": 4,
                "reasons": {"new": 8, "late": 1},
            }
        ],
        changed_users=30,
        changed_summaries=31,
        backfill_users=10,
        prefixes=40,
        texts_to_encode=4,
        estimated_seconds=8.0,
        estimated_from="2024-03-03",
    )
    found = view(facts(next_day=NextDay(date(2024, 3, 4), True, plan, ""))).next_day
    assert found is not None
    assert found.said[0] == "About 8.0 s, at the rate of 2024-03-03."
    assert (
        "To compute: 40 users (40.0 % of a full recompute; 10 of them only for new scenarios), and 4 texts."
        in found.said[1]
    )
    assert found.modalities.rows == (("bill", "9", "1", "30", "4", "8 new, 1 late"),)


def test_versions_come_with_their_evaluation() -> None:
    found = view(facts())
    assert found.versions.rows == (
        ("2", "v2-b", "2024-02-01", "trained", "live", "4 tasks, gate not passed", "0.750"),
        ("1", "v1-a", "2024-01-01", "untrained", "removed", "not evaluated", "–"),
    )
    assert found.not_passed == (("v2-b", ("Worse.",)),)


def test_a_state_without_a_window_has_a_page() -> None:
    empty = facts(
        status=StatusReport(None, "v1-a", False),
        first_window=None,
        windows=[],
        rejected=[],
        measured=[],
        next_day=None,
    )
    page = render(view(empty))
    assert "No window is committed yet." in page
    assert "<svg" not in page
    assert "None" not in page


def test_texts_are_escaped_and_nothing_is_loaded_from_elsewhere() -> None:
    page = render(view(facts()))
    assert "user_id is &lt;null&gt;" in page
    assert "http" not in page
    assert "<script" not in page
    assert "<i>" not in render_error("<i>", "<i>")


def test_equal_facts_give_an_equal_page() -> None:
    assert render(view(facts())) == render(view(facts()))


def test_the_way_to_a_plan_is_a_link_only_where_there_is_a_server() -> None:
    assert "updater plan --ds 2024-03-04" in render(view(facts()))
    assert 'href="?plan=true"' in render(view(facts()), plan_link="?plan=true")


@pytest.mark.parametrize(
    ("value", "end"), [(0, 1.0), (0.03, 0.05), (1, 1.0), (1.2, 2.0), (7.3, 10.0), (736, 1000.0), (2000, 2000.0)]
)
def test_axes_end_at_round_numbers(value: float, end: float) -> None:
    assert charts.round_up(value) == end


def test_columns_are_as_high_as_their_values_and_lie_on_each_other() -> None:
    chart = charts.columns("t", ["2024-03-01", "2024-03-02"], {"a": [5.0, 0.0], "b": [5.0, 10.0]}, str)
    heights = [(bar.series, bar.height) for bar in chart.bars]
    assert heights == [(0, charts.PLOT_HEIGHT / 2), (1, charts.PLOT_HEIGHT / 2), (1, charts.PLOT_HEIGHT)]
    first, second, _ = chart.bars
    assert second.y + second.height == pytest.approx(first.y)
    assert all(bar.x >= 0 and bar.x + bar.width <= chart.width for bar in chart.bars)
    assert chart.legend == (("a", 0), ("b", 1))


def test_small_columns_have_an_axis_of_their_own_each() -> None:
    chart = charts.small_columns("t", ["2024-03-01"], {"large": [900.0], "small": [3.0], "none": [0.0]}, str)
    assert [bar.height for bar in chart.bars] == [charts.ROW - 6, charts.ROW - 6]


def test_dots_lie_in_the_order_of_their_values_beside_the_threshold() -> None:
    chart = charts.dots("t", {"a": 0.9, "b": 0.6}, 0.7, str)
    assert chart.limit is not None
    a, b = chart.dots
    assert b.x < chart.limit[0] < a.x
    assert charts.dots("t", {"a": 0.9}, None, str).limit is None
