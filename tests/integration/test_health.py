"""What is measured of a state is what its files and stores hold, and each kind of trouble is an alert."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.deployment import Deployment, tree
from tests.watched import AS_OF, DAYS, USERS, context, land, watched
from updater.domain.declared.alerts import THRESHOLDS
from updater.errors import NothingCommittedError, VerificationError
from updater.pipeline.monitor.health import Health, measure, raise_on_alert

LOOSE = {
    "max_hours_since_as_of": float("inf"),
    "max_days_since_last_event": float("inf"),
    "max_changed_share_factor": float("inf"),
    "max_rejected_share_window": 1.0,
    "min_day_cosine": -1.0,
    "max_mean_shift": 2.0,
    "max_mismatch_share": 1.0,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return watched(tmp_path_factory.mktemp("watched"))


def alerts(made: Deployment, online: bool = False, hours: float = 1.0, **thresholds: float) -> list[tuple[str, str]]:
    """Thresholds that are exceeded, and where, if all others are loose."""
    found = measure(context(made, hours, **{**LOOSE, **thresholds}), online)
    return [(alert.threshold, alert.where) for alert in found.alerts]


def scenario(health: Health, name: str) -> tuple[int, float | None, float | None]:
    (found,) = [s for s in health.scenarios if s.scenario == name]
    return found.compared_users, found.day_cosine, found.mean_shift


def test_measuring_changes_nothing(made: Deployment) -> None:
    def files() -> dict[str, str]:
        return {path: digest for path, digest in tree(made.state).items() if "online.db" not in path}

    before = files()
    measure(context(made), online=True)
    assert files() == before


def test_freshness_of_modalities_and_scenarios(made: Deployment) -> None:
    health = measure(context(made, hours=5), online=False)
    assert (health.ds, health.as_of) == (str(DAYS[-1]), AS_OF.isoformat())
    bill, search, app = health.modalities
    assert (bill.landed, bill.processed) == (str(DAYS[-1]), str(DAYS[-1]))
    assert (bill.newest_event, bill.days_since_last_event) == ("2024-03-06T12:00:00+00:00", 0.5)
    assert (search.processed, search.newest_event, search.days_since_last_event) == (
        str(DAYS[-1]),
        "2024-03-01T12:00:00+00:00",
        5.5,
    )
    assert (app.landed, app.processed, app.newest_event, app.days_since_last_event) == (None, None, None, None)
    assert [(s.scenario, s.as_of, s.hours_since_as_of) for s in health.scenarios] == [
        ("lapse", AS_OF.isoformat(), 5.0),
        ("takeout", AS_OF.isoformat(), 5.0),
    ]


def test_a_day_that_landed_and_has_not_run_is_landed_only(made: Deployment, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.symlink_to(made.lake)
    settings = replace(made.settings, paths=replace(made.settings.paths, lake=str(lake)))
    lake.unlink()
    for name in ("bill", "search"):
        (lake / name).mkdir(parents=True)
        for path in Path(made.lake, name).iterdir():
            (lake / name / path.name).symlink_to(path)
    land(str(lake), DAYS[-1] + timedelta(days=1))
    (lake / "bill" / "ds=2024-03-09").mkdir()
    health = measure(context(Deployment(settings)), online=False)
    assert (health.modalities[0].landed, health.modalities[0].processed) == ("2024-03-07", "2024-03-06")


def test_the_share_of_changed_users_is_seen_beside_its_own_past(made: Deployment) -> None:
    health = measure(context(made), online=False)
    assert (health.changed_users, health.active_users, health.changed_share) == (15, 30, 0.5)
    assert health.usual_changed_share == 0.5


def test_drift_is_that_of_the_rows_which_readers_see(made: Deployment) -> None:
    health = measure(context(made), online=False)
    for name in ("lapse", "takeout"):
        new = {row["user_id"]: row[f"{name}_embedding"] for row in made.offline_rows(f"{name}_v1", DAYS[-1])}
        old = {
            row["user_id"]: row[f"{name}_embedding"] for ds in DAYS[:-1] for row in made.offline_rows(f"{name}_v1", ds)
        }
        newer, older = (np.array([rows[user] for user in sorted(new)]) for rows in (new, old))
        users, cosine, shift = scenario(health, name)
        assert users == len(new) == 15
        assert cosine == pytest.approx((newer * older).sum(axis=1).mean(), abs=1e-6)
        assert shift == pytest.approx(np.linalg.norm(newer.mean(axis=0) - older.mean(axis=0)), abs=1e-6)
        assert shift > 1e-4


def test_without_a_window_there_is_nothing_to_check(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path)
    with pytest.raises(NothingCommittedError, match="No window is committed yet"):
        measure(made.context, online=False)


def test_the_first_window_has_no_past_and_no_drift(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path)
    land(made.lake, DAYS[0])
    made.run(DAYS[:1])
    health = measure(made.context, online=False)
    assert (health.changed_share, health.usual_changed_share) == (1.0, None)
    assert [scenario(health, name) for name in ("lapse", "takeout")] == [(0, None, None)] * 2


def test_a_new_scenario_has_no_as_of_until_a_window_computes_it(made: Deployment) -> None:
    lapse, takeout = made.settings.scenarios
    settings = replace(made.settings, scenarios=(lapse, replace(takeout, query="Will this user eat out?")))
    health = measure(context(Deployment(settings)), online=False)
    assert [s.as_of for s in health.scenarios] == [AS_OF.isoformat(), None]
    assert alerts(Deployment(settings), hours=99, max_hours_since_as_of=36) == [
        ("max_hours_since_as_of", f"as_of {AS_OF:%Y-%m-%d %H:%M} UTC of lapse")
    ]


# Each threshold.


def test_there_is_no_alert_if_all_thresholds_are_loose(made: Deployment) -> None:
    assert set(LOOSE) == set(THRESHOLDS)
    assert alerts(made, online=True, hours=10_000) == []


def test_a_state_that_is_not_updated_any_more(made: Deployment) -> None:
    assert alerts(made, hours=36, max_hours_since_as_of=36) == []
    where = f"as_of {AS_OF:%Y-%m-%d %H:%M} UTC of lapse, takeout"
    assert alerts(made, hours=36.5, max_hours_since_as_of=36) == [("max_hours_since_as_of", where)]


def test_a_stream_that_lands_empty(made: Deployment) -> None:
    where = f"newest event of search before {AS_OF:%Y-%m-%d %H:%M} UTC"
    assert alerts(made, max_days_since_last_event=5.4) == [("max_days_since_last_event", where)]
    assert alerts(made, max_days_since_last_event=5.5) == []


@pytest.mark.parametrize("online", [False, True])
def test_online_values_that_differ_are_seen_when_asked_for(made: Deployment, online: bool) -> None:
    table = '"updater_takeout_v1"'
    with closing(sqlite3.connect(made.settings.online_store.options["path"])) as connection:
        with connection:
            key = connection.execute(f"select entity_key from {table} limit 1").fetchone()
            lost = connection.execute(f"select * from {table} where entity_key = ?", key).fetchall()
            connection.execute(f"delete from {table} where entity_key = ?", key)
        found = alerts(made, online=online, max_mismatch_share=0.0)
        with connection:
            connection.executemany(f"insert into {table} values ({', '.join('?' * len(lost[0]))})", lost)
    where = f"online store, 4 of {30 * (4 + 4 + 7)} values at {DAYS[-1]}"
    assert found == ([("max_mismatch_share", where)] if online else [])
    assert alerts(made, online=True, max_mismatch_share=0.0) == []


@pytest.mark.parametrize("threshold", ["min_day_cosine", "max_mean_shift"])
def test_embeddings_that_jump(made: Deployment, threshold: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("updater.pipeline.monitor.health.MIN_DRIFT_USERS", 15)
    assert alerts(made, **{threshold: 0.0 if threshold == "min_day_cosine" else 1.5}) == []
    paths = sorted((made.state / "offline" / "lapse_v1" / f"ds={DAYS[-1]}").glob("*.parquet"))
    with damaged(*paths):
        for path in paths:
            turn_round(path)
        found = alerts(made, **{threshold: 0.0 if threshold == "min_day_cosine" else 1.5})
    assert found == [(threshold, f"lapse embeddings of 15 users on {DAYS[-1]}")]


def test_a_mean_over_few_users_is_no_alert(made: Deployment) -> None:
    assert alerts(made, min_day_cosine=1.0, max_mean_shift=0.0) == []


def test_rejected_rows_and_days_on_which_too_many_or_too_few_change(tmp_path: Path) -> None:
    made = watched(tmp_path)

    def run(number: int, users: list[str], bad_rows: int = 0) -> date:
        ds = DAYS[0] + timedelta(days=number)
        land(made.lake, ds, users, bad_rows)
        made.run([ds])
        return ds

    ds = run(6, USERS, bad_rows=3)
    assert alerts(made, max_rejected_share_window=0.09) == [("max_rejected_share_window", f"rows of bill on {ds}")]
    assert alerts(made, max_rejected_share_window=0.1) == []
    changed = [("max_changed_share_factor", f"100.00% of the users changed on {ds}, usually 50.00%")]
    assert alerts(made, max_changed_share_factor=1.9) == changed
    assert alerts(made, max_changed_share_factor=2.0) == []
    ds = run(7, [])
    changed = [("max_changed_share_factor", f"0.00% of the users changed on {ds}, usually 50.00%")]
    assert alerts(made, max_changed_share_factor=1e9) == changed
    health = measure(context(made), online=False)
    assert [m.rejected_share for m in health.modalities] == [0.0, 0.0, 0.0]
    assert scenario(health, "lapse") == (0, None, None)


def test_the_error_names_every_crossing(made: Deployment) -> None:
    health = measure(
        context(made, hours=48, **{**LOOSE, "max_hours_since_as_of": 36, "max_days_since_last_event": 1}), online=False
    )
    with pytest.raises(VerificationError) as caught:
        raise_on_alert(health)
    text = str(caught.value)
    assert text.startswith("2 alert thresholds are exceeded: as_of 2024-03-07")
    assert "max_hours_since_as_of is 36, the value 48" in text
    assert "newest event of search" in text and "max_days_since_last_event is 1, the value 5.5" in text
    raise_on_alert(measure(context(made, **LOOSE), online=False))


@contextmanager
def damaged(*paths: Path) -> Iterator[None]:
    """Files that are put back afterwards."""
    before = {path: path.read_bytes() for path in paths}
    try:
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def turn_round(path: Path) -> None:
    """Negate a file's embeddings."""
    table = pq.ParquetFile(path).read()
    column = table.column_names.index("lapse_embedding")
    turned = pa.array([[-x for x in row] for row in table["lapse_embedding"].to_pylist()], pa.list_(pa.float32()))
    pq.write_table(table.set_column(column, "lapse_embedding", turned), path)
