"""Promotions in a state whose days maintenance has merged: rows of the past are found, and new ones are not hidden."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import PROFILES, Deployment
from tests.factories import land_rows
from tests.strategies import COLUMNS, Row
from updater.model.checkpoint import create_model, save_model
from updater.model.config import create_config
from updater.pipeline.compact.run import maintain
from updater.pipeline.monitor.verify import verify
from updater.pipeline.versions.promote import promote
from updater.pipeline.versions.registry import model_version, register_model
from updater.runtime.process_pool import ProcessPool
from updater.state.bucket_files import all_files, bucket_files
from updater.state.event_store import connect

pytestmark = pytest.mark.campaign

START = date(2024, 3, 4)
DAYS = [START + timedelta(days=number) for number in range(12)]


def land(lake: str, ds: date) -> None:
    """Ann buys every day, Ben on the first day only."""
    noon = datetime(ds.year, ds.month, ds.day, 12, tzinfo=UTC)
    users = ["ann", "ben"] if ds == START else ["ann"]
    rows = [Row(user, f"{user}{ds}", noon, "milk", float(ds.day)).values() for user in users]
    land_rows(lake, "bill", ds, rows, columns=COLUMNS)
    land_rows(lake, "search", ds, [], columns=COLUMNS)


def make_live(made: Deployment, version: int) -> None:
    context = made.context
    with ProcessPool(made.settings, context.now) as pool:
        promote(context, pool, model_version(context, version), None)


def rows(made: Deployment, view: str) -> list[Any]:
    """Users and instants that readers of a view find."""
    files = bucket_files(made.context.layout.offline(view), 0)
    with connect() as connection:
        query = (
            "select distinct user_id, event_timestamp from read_parquet($files, hive_partitioning = false) order by all"
        )
        return connection.execute(query, {"files": files}).fetchall()


def test_merged_days_are_made_and_merged_versions_get_what_they_missed(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path / "deployed", **PROFILES)
    for ds in DAYS:
        land(made.lake, ds)
    save_model(create_model(create_config(made.settings), 99), tmp_path / "model")
    register_model(made.context, tmp_path / "model", "other", trained=True)
    made.run(DAYS[:9])
    maintain(made.context)
    assert {file.kind for file in all_files(made.context.layout.offline("lapse_v1"))} == {"ds", "span"}

    make_live(made, 2)
    assert rows(made, "lapse_v2") == rows(made, "lapse_v1")
    made.run(DAYS[9:])
    maintain(made.context)
    maintain(made.context)
    assert {file.kind for file in all_files(made.context.layout.offline("lapse_v2"))} & {"span"}

    make_live(made, 1)
    assert rows(made, "lapse_v1") == rows(made, "lapse_v2")
    assert len(rows(made, "lapse_v1")) == len(DAYS) + 2, "Ann every day, Ben comes and expires"
    assert verify(made.context, None).differences == []
