"""Runs by Airflow itself, with a stand-in behind the tasks: what is called, skipped, retried and announced."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from tests.dags.conftest import Steps, execute, parse, states
from updater.errors import (
    ConcurrentUpdateError,
    DataRefusedError,
    HeadConflictError,
    ServiceUnavailableError,
    UnfinishedWorkError,
    VerificationError,
    WindowOrderError,
)

DS = "2024-01-02"
pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("airflow_db", "settings")]


def test_a_day_goes_through_every_step(steps: Steps) -> None:
    run = execute(parse("daily_update"), ds=DS, num_groups=3, verify_users=7)
    assert run.state == "success"
    assert steps.called("landing_paths") == [(DS,)]
    assert sorted(steps.called("detect")) == [(DS, name) for name in ("app", "bill", "search")]
    assert sorted(steps.called("encode")) == [(DS, name) for name in ("bill", "search")]
    assert sorted(steps.called("refresh")) == [(DS, group) for group in ([0, 3], [1], [2])]
    assert steps.calls[-3:] == [
        ("publish", DS),
        ("materialize", DS),
        ("verify", DS, 7),
    ]


def test_the_interval_names_the_day_when_nobody_does(steps: Steps) -> None:
    run = parse("daily_update").test(logical_date=datetime(2024, 1, 6, tzinfo=UTC))
    assert run.state == "success"
    assert steps.called("publish") == [("2024-01-05",)]


def test_a_day_without_texts_is_refreshed_and_published_all_the_same(steps: Steps) -> None:
    steps.texts = {}
    run = execute(parse("daily_update"), ds=DS)
    assert run.state == "success"
    assert states(run)["encode"] == ["skipped"]
    assert len(steps.called("refresh")) == 2
    assert steps.called("publish")


def test_each_feature_view_gets_one_event_with_the_day_as_partition(steps: Steps) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    run = execute(parse("daily_update"), ds=DS)
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run.run_id)).all()
        found = sorted((event.asset.name, event.partition_key, event.extra["rows"]) for event in events)
    names = ("updater/lapse", "updater/modality_summaries", "updater/takeout")
    assert found == [(name, DS, 6) for name in names]


def test_a_service_that_comes_back_costs_a_retry(steps: Steps) -> None:
    steps.fail["publish"] = [ServiceUnavailableError("the ledger does not answer"), OSError("connection reset")]
    run = execute(parse("daily_update"), ds=DS)
    assert run.state == "success"
    assert len(steps.called("publish")) == 3


@pytest.mark.parametrize("error", [ConcurrentUpdateError, HeadConflictError, UnfinishedWorkError])
def test_what_another_command_got_in_the_way_of_is_tried_again(error: type[Exception], steps: Steps) -> None:
    steps.fail["publish"] = [error("run the same command again")]
    run = execute(parse("daily_update"), ds=DS)
    assert run.state == "success"
    assert len(steps.called("publish")) == 2


@pytest.mark.parametrize("error", [WindowOrderError, VerificationError, DataRefusedError])
def test_what_cannot_be_cured_is_not_retried(error: type[Exception], steps: Steps) -> None:
    steps.fail["publish"] = [error("no"), error("no"), error("no"), error("no")]
    run = execute(parse("daily_update"), ds=DS)
    assert run.state == "failed"
    assert len(steps.called("publish")) == 1
    found = states(run)
    assert found["publish"] == ["failed"]
    assert found["materialize"] == found["verify"] == ["upstream_failed"]


def test_a_modality_that_fails_stops_the_day_before_the_refresh(steps: Steps) -> None:
    steps.fail["detect"] = [DataRefusedError("bill has no column user_id")]
    run = execute(parse("daily_update"), ds=DS)
    assert run.state == "failed"
    assert sorted(states(run)["detect"]) == ["failed", "success", "success"]
    assert steps.called("refresh") == steps.called("publish") == []


def test_a_backfill_walks_its_days_in_order_inside_each_task(steps: Steps) -> None:
    days = [DS, "2024-01-03"]
    run = execute(parse("backfill"), from_date="2024-01-01", to_date="2024-01-03")
    assert run.state == "success"
    assert steps.called("backfill_days") == [("2024-01-01", "2024-01-03")]
    for modality in ("bill", "search", "app"):
        assert [ds for ds, name in steps.called("detect") if name == modality] == days
    assert sorted(steps.called("refresh_days")) == [(days, [0, 2]), (days, [1, 3])]
    written = [call for call in steps.calls if call[0] in ("publish", "materialize")]
    assert written == [(name, ds) for ds in days for name in ("publish", "materialize")]
    assert steps.calls[-1] == ("verify", "2024-01-03", 20)


def test_a_backfill_without_missing_days_does_nothing(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "backfill_days", lambda from_date, to_date, config: [], raising=False)
    run = execute(parse("backfill"), from_date="2024-01-01", to_date="2024-01-03")
    assert run.state == "success"
    assert steps.calls == []
    assert states(run)["publish_days"] == ["skipped"]
