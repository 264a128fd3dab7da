"""Who changed what: one row per action that changed something, and none for one that did not."""

import getpass
import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.deployment import Deployment
from tests.factories import MODALITIES, bill, land_rows, search
from updater.cli import main
from updater.errors import ConfigError, NotLandedError, WindowOrderError
from updater.pipeline import steps
from updater.pipeline.daily.backfill import backfill
from updater.pipeline.init import initialize
from updater.pipeline.monitor.audit import actor
from updater.pipeline.restate.run import restate_range
from updater.runtime.process_pool import ProcessPool

DAYS = [date(2024, 5, 1) + timedelta(days=offset) for offset in range(5)]
USER = "ann.smith"


def land(lake: str, days: list[date]) -> None:
    for ds in days:
        land_rows(lake, "bill", ds, [bill(USER, f"e{ds}", f"{ds} 10:00:00")])
        land_rows(lake, "search", ds, [search(USER, f"s{ds}", f"{ds} 11:00:00")])


def rows(made: Deployment) -> list[tuple[str, str, object]]:
    """Actor, action and subject, oldest first."""
    return [(row.actor, row.action, row.subject) for row in reversed(made.context.ledger.audit())]


def test_every_action_leaves_a_row_with_its_actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDATER_ACTOR", "ann")
    made = Deployment.create(tmp_path, modalities=MODALITIES)
    land(made.lake, DAYS[:4])
    made.run(DAYS[:1])
    monkeypatch.setenv("UPDATER_ACTOR", "bob")
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        backfill(context, pool, DAYS[0], DAYS[2])
    monkeypatch.setenv("UPDATER_CONFIG", str(made.settings.source))
    for modality in ("bill", "search", "app"):
        steps.detect(str(DAYS[3]), modality)
        steps.encode(str(DAYS[3]), modality)
    steps.refresh(str(DAYS[3]), [0])
    steps.publish(str(DAYS[3]))
    steps.materialize(str(DAYS[3]))
    steps.materialize(str(DAYS[3]))  # a retry after the commit
    land_rows(made.lake, "bill", DAYS[2], [bill(USER, "other", f"{DAYS[2]} 12:00:00")])
    with ProcessPool(made.settings, context.now) as pool:
        assert restate_range(context, pool, DAYS[2], DAYS[2])["users"] == 1
    found = rows(made)
    assert [row[:2] for row in found] == [
        ("ann", "init"),
        ("ann", "run"),
        ("bob", "backfill"),
        ("bob", "run"),
        ("bob", "restate"),
    ]
    assert found[0][2] == {
        "model": context.live_model().name,
        "feature_views": ["lapse_v1", "takeout_v1", "modality_summaries"],
    }
    assert found[1][2] == {"ds": "2024-05-01"}
    assert found[2][2] == {"first": "2024-05-02", "last": "2024-05-03", "days": 2}
    assert found[3][2] == {"ds": "2024-05-04", "by": "airflow"}
    assert USER not in str(found)

    shown = CliRunner().invoke(main, ["state", "audit", "--last", "2", "--json", "--config", str(made.settings.source)])
    assert [row["action"] for row in json.loads(shown.output)] == ["restate", "run"]
    shown = CliRunner().invoke(main, ["state", "audit", "--config", str(made.settings.source)])
    assert shown.exit_code == 0
    assert "backfill" in shown.output and "2024-05-03" in shown.output


def test_what_changes_nothing_leaves_no_row(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path, modalities=MODALITIES)
    land(made.lake, DAYS[:1])
    made.run(DAYS[:1])
    before = rows(made)
    assert [action for _, action, _ in before] == ["init", "run"]
    made.run(DAYS[:1])
    with pytest.raises(NotLandedError):
        made.run(DAYS[1:2])
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        assert backfill(context, pool, DAYS[0], DAYS[0]) == []
        with pytest.raises(NotLandedError):
            backfill(context, pool, DAYS[0], DAYS[2])
    assert rows(made) == before
    initialize(made.settings)
    assert len(rows(made)) == len(before) + 1, "init registers the feature repository again, so it is on record"


def test_the_actor_is_the_user_of_the_system_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOGNAME", raising=False)
    for name in ("USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    assert actor({}) == actor({"UPDATER_ACTOR": ""}) == getpass.getuser()
    assert actor({"UPDATER_ACTOR": "Ann Ödegård"}) == "Ann Ödegård"
    for bad in ("ann\n2024-05-01 bob", "x" * 201, "\x1b[2J"):
        with pytest.raises(ConfigError, match="printable"):
            actor({"UPDATER_ACTOR": bad})


def test_a_day_in_airflow_is_on_record_before_its_first_work_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPDATER_ACTOR", "ann")
    made = Deployment.create(tmp_path, modalities=MODALITIES)
    monkeypatch.setenv("UPDATER_CONFIG", str(made.settings.source))
    land(made.lake, DAYS[:2])
    made.run(DAYS[:1])
    before = rows(made)
    with pytest.raises(WindowOrderError):
        steps.detect(str(DAYS[2]), "bill")
    assert rows(made) == before, "what is refused before it changes anything leaves none"

    # Opened by hand, and left to the scheduler.
    made.context.ledger.open_window(DAYS[1], made.context.window(DAYS[1]).as_of, made.now)
    by_airflow = ("ann", "run", {"ds": str(DAYS[1]), "by": "airflow"})
    for modality in ("bill", "search", "app", "bill"):
        steps.detect(str(DAYS[1]), modality)
        assert rows(made) == [*before, by_airflow]
    monkeypatch.setenv("UPDATER_ACTOR", "bob")
    steps.detect(str(DAYS[1]), "bill")
    assert rows(made)[-1] == ("bob", "run", {"ds": str(DAYS[1]), "by": "airflow"})
    for modality in ("bill", "search", "app"):
        steps.encode(str(DAYS[1]), modality)
    steps.refresh(str(DAYS[1]), [0])
    steps.publish(str(DAYS[1]))
    steps.materialize(str(DAYS[1]))
    steps.detect(str(DAYS[1]), "bill")
    assert len(rows(made)) == len(before) + 2
