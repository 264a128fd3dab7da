"""A user's way through the command line, each command in a process of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.deployment import rows_below, tree, write_config
from tests.factories import SCENARIOS
from tests.processes import Outcome, fork_updater, run_updater
from tests.strategies import BUFFER_DAYS, TOUR
from updater.settings import load_settings

DAYS = [str(ds) for ds in TOUR.windows]
PLANNED = ("changed_users", "prefixes")


class Desk:
    """A config and what can be done with it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = write_config(root, buffer={"num_buckets": 2})
        self.state = Path(load_settings(self.config, environ={}).paths.state)
        TOUR.land(load_settings(self.config, environ={}).paths.lake)

    def call(self, *args: str) -> Outcome:
        return fork_updater(*args, "--config", str(self.config))

    def ok(self, *args: str) -> Any:
        """The one JSON value that a command prints."""
        done = self.call(*args, "--json")
        assert (done.exit_code, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def text(self, *args: str) -> str:
        """What a command prints for people."""
        done = self.call(*args)
        assert (done.exit_code, done.stderr) == (0, "")
        return done.stdout

    def unchanged_by(self, *args: str) -> Any:
        """The JSON value of a command that writes nothing."""
        before = self.files()
        value = self.ok(*args)
        assert self.files() == before
        return value

    def files(self) -> dict[str, str]:
        """Digests of all files but the online store's: SQLite folds its log in when somebody looks."""
        return {path: digest for path, digest in tree(self.root).items() if "online.db" not in path}

    def users(self, view: str, ds: str) -> set[str]:
        return {row["user_id"] for row in rows_below(self.state / "offline" / view / f"ds={ds}")}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    setup = desk.ok("init")
    assert setup["feature_views"] == ["lapse_v1", "takeout_v1", "modality_summaries"]
    assert (desk.state / "feature_store.yaml").exists()
    yield desk


# These tests are the steps of one story, in the order of the file.


def test_init_again_changes_nothing(desk: Desk) -> None:
    models = tree(desk.state / "models")
    desk.ok("init")
    assert tree(desk.state / "models") == models
    said = desk.text("init")
    assert "feature views" in said
    assert f"fixed          timezone UTC, buffer.num_buckets 2, buffer.days {BUFFER_DAYS}, model.text_encoder " in said
    assert "what each modality declares: others need a new state" in said


@pytest.mark.parametrize("ds", DAYS[:2])
def test_the_plan_changes_nothing_and_is_what_the_run_does(desk: Desk, ds: str) -> None:
    plan = desk.unchanged_by("run", "--ds", ds, "--dry-run")
    report = desk.ok("run", "--ds", ds)
    assert {name: plan[name] for name in PLANNED} == {name: report[name] for name in PLANNED}
    assert plan["texts_to_encode"] == report["texts_encoded"]
    assert plan["backfill_users"] == 0
    for planned, done in zip(plan["modalities"], report["modalities"], strict=True):
        assert (planned["modality"], planned["changed_users"]) == (done["modality"], done["changed_users"])
        assert planned["reasons"] == done["reasons"]
    changed = {row["user_id"] for row in plan["users"]}
    assert desk.users("lapse_v1", ds) == changed
    assert (plan["estimated_seconds"] is None) == (ds == DAYS[0])


def test_a_run_again_says_that_it_is_done(desk: Desk) -> None:
    assert desk.unchanged_by("run", "--ds", DAYS[1])["already_done"] is True
    assert desk.unchanged_by("run", "--ds", DAYS[1], "--dry-run")["already_done"] is True
    assert "already done; nothing changed" in desk.text("run", "--ds", DAYS[1])


def test_status_and_verify_only_look(desk: Desk) -> None:
    status = desk.unchanged_by("status")
    assert (status["watermark"], status["waiting"], status["unfinished"]) == (DAYS[1], DAYS[2:], [])
    assert [run["ds"] for run in status["runs"]] == [DAYS[1], DAYS[0]]
    report = desk.unchanged_by("state", "verify", "--all")
    assert (report["users"], report["differences"]) == (3, [])
    assert desk.unchanged_by("state", "verify", "--sample", "1")["users"] <= 2
    said = desk.text("status")
    assert DAYS[1] in said and f"`updater backfill --from-date {DAYS[2]} --to-date {DAYS[-1]}` runs them" in said
    assert "0 differences" in desk.text("state", "verify")


def test_an_audit_sees_the_last_bit_of_an_embedding(desk: Desk) -> None:
    path = sorted((desk.state / "offline" / "takeout_v1").rglob("*.parquet"))[-1]
    content = path.read_bytes()
    table = pq.read_table(path)
    vectors = [np.array(row, np.float32) for row in table["takeout_embedding"].to_pylist()]
    vectors[0][0] = np.nextafter(vectors[0][0], np.float32(2.0))
    index = table.schema.get_field_index("takeout_embedding")
    field = table.schema.field(index)
    pq.write_table(table.set_column(index, field, pa.array(vectors, field.type)), path)
    rebuilt = "The takeout embedding of user"
    for flags, num_found in (([], 0), (["--exact"], 1)):
        differences = json.loads(desk.call("state", "verify", "--all", "--json", *flags).stdout)["differences"]
        # That the online store has another value is reported in any case.
        assert differences and sum(each.startswith(rebuilt) for each in differences) == num_found
    path.write_bytes(content)
    assert desk.ok("state", "verify", "--all", "--exact")["differences"] == []


def test_backfill_does_what_is_missing(desk: Desk) -> None:
    plan = desk.unchanged_by("backfill", "--from-date", DAYS[0], "--to-date", DAYS[3], "--dry-run")
    assert plan["days"] == DAYS[2:4]
    done = desk.ok("backfill", "--from-date", DAYS[0], "--to-date", DAYS[3])
    assert [window["ds"] for window in done["windows"]] == DAYS[2:4]
    again = desk.unchanged_by("backfill", "--from-date", DAYS[0], "--to-date", DAYS[3])
    assert again["windows"] == []
    assert "nothing changed" in desk.text("backfill", "--from-date", DAYS[0], "--to-date", DAYS[3])
    assert desk.ok("state", "verify", "--all")["differences"] == []


def test_a_new_scenario_takes_prefixes_and_no_texts(desk: Desk) -> None:
    extra = {"name": "brand", "domain": "marketing", "query": "Will this user order milk?"}
    write_config(desk.root, buffer={"num_buckets": 2}, scenarios=[extra, *SCENARIOS])
    assert "brand_v1" in desk.ok("init")["feature_views"]
    ds = DAYS[4]
    plan = desk.unchanged_by("run", "--ds", ds, "--dry-run")
    report = desk.ok("run", "--ds", ds)
    everyone = {row["user_id"] for day in DAYS[:5] for row in rows_below(desk.state / "summaries" / f"ds={day}")}
    changed = desk.users("lapse_v1", ds)
    assert 0 < len(changed) < len(everyone)
    assert (plan["changed_users"], plan["backfill_users"]) == (len(changed), len(everyone - changed))
    assert plan["prefixes"] == report["prefixes"] == len(everyone)
    assert report["changed_users"] == len(changed)
    assert report["texts_encoded"] == plan["texts_to_encode"]
    assert desk.users("brand_v1", ds) == everyone
    assert desk.users("takeout_v1", ds) == desk.users("modality_summaries", ds) == changed
    assert desk.ok("state", "verify", "--all")["differences"] == []


def test_a_changed_query_is_a_new_scenario_too_and_only_once(desk: Desk) -> None:
    reworded = [{**SCENARIOS[0], "query": "Will this user stop?"}, SCENARIOS[1]]
    write_config(desk.root, buffer={"num_buckets": 2}, scenarios=reworded)
    quiet, after = desk.ok("run", "--ds", DAYS[5]), desk.ok("run", "--ds", DAYS[6])
    assert (quiet["changed_users"], quiet["texts_encoded"]) == (0, 0)
    assert desk.users("lapse_v1", DAYS[5]) != set() == desk.users("takeout_v1", DAYS[5])
    assert after["prefixes"] == after["changed_users"]
    assert desk.ok("state", "verify", "--all")["differences"] == []


def test_verify_finds_what_was_tampered_with(desk: Desk) -> None:
    summaries = sorted((desk.state / "summaries").rglob("*.parquet"))
    content = summaries[-1].read_bytes()
    summaries[-1].unlink()
    done = desk.call("state", "verify", "--all", "--json")
    assert done.exit_code == 6
    assert json.loads(done.stdout)["differences"]
    assert done.stderr.startswith("updater: ") and done.stderr.count("\n") == 1
    summaries[-1].write_bytes(content)
    assert desk.ok("state", "verify", "--all")["differences"] == []


@pytest.mark.slow
def test_the_same_as_a_program(desk: Desk) -> None:
    """Nothing that the other tests share with the server process hides an import or a warning."""
    done = run_updater("run", "--ds", DAYS[6], "--json", "--config", str(desk.config))
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["already_done"] is True
    shown = run_updater("state", "verify", "--config", str(desk.config))
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert run_updater("--help").stdout.count("Exit codes") == 1
