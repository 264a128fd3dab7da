"""Ids are data: whatever stands in them goes through the whole job unchanged, and does nothing on the way."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from tests.deployment import Deployment, rows_below, tree
from tests.factories import MODALITIES, bill, land_rows, search
from updater.cli import main
from updater.store.access import historical_rows, online_rows
from updater.store.repository.connecting import open_store

DAYS = [date(2024, 5, 1), date(2024, 5, 2)]
HOSTILE = [
    "'; drop table ledger_heads; --",
    "' or '1'='1",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "C:\\windows\\x",
    "<script>alert(1)</script>",
    "&lt;b&gt;",
    "\"double\" 'single' `back`",
    "line\nbreak\r\n\ttab",
    "nul\0byte",
    "escape\x1b[2J\x07",
    "%s %(x)s {0} {user_id} ${HOME} $(id) $UPDATER_CONFIG",
    "[bold]markup[/bold] [/]",
    "*?[a-z]",
    "ds=2024-05-01",
    "_SUCCESS",
    "--json",
    "-",
    "~",
    " leading and trailing ",
    "null",
    "None",
    "nan",
    "1",
    "1.0",
    "01",
    "é",
    "e\u0301",
    "\u202egnp.exe",
    "\ufeffmark",
    "\ufffd",
    "😀" * 64,
    "ü" * 128,
    "x" * 256,
]


def cli(made: Deployment, *args: str) -> Result:
    return CliRunner().invoke(main, [*args, "--config", str(made.settings.source)])


def report(made: Deployment, *args: str) -> Any:
    """The one JSON value that a command prints; standard error stays empty."""
    done = cli(made, *args, "--json")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Two days of a lake in which every id is hostile, run by the command line."""
    root = tmp_path_factory.mktemp("deep") / "deeper" / "hostile"
    made = Deployment.create(root, modalities=MODALITIES, buffer={"num_buckets": 2})
    land_rows(made.lake, "bill", DAYS[0], [bill(x, x, "2024-05-01 10:00:00", merchant=x) for x in HOSTILE])
    land_rows(made.lake, "search", DAYS[0], [search(x, x, "2024-05-01 11:00:00", x) for x in HOSTILE])
    # The next day deletes each user's purchase by its id, and brings another.
    gone = [{**bill(x, x, "2024-05-01 10:00:00"), "op": "delete"} for x in HOSTILE]
    new = [{**bill(x, f"{x[:50]}2", "2024-05-02 10:00:00"), "op": None} for x in HOSTILE]
    land_rows(made.lake, "bill", DAYS[1], [*gone, *new, *new])
    land_rows(made.lake, "search", DAYS[1], [search("quiet", "e", "2024-05-02 11:00:00")])
    outside = tree(root.parents[1])
    names = {path.name for path in root.parents[1].iterdir()}
    plans = [report(made, "run", "--ds", str(DAYS[0]), "--dry-run")]
    assert report(made, "run", "--ds", str(DAYS[0]))["changed_users"] == len(HOSTILE)
    plans.append(report(made, "run", "--ds", str(DAYS[1]), "--dry-run"))
    assert report(made, "run", "--ds", str(DAYS[1]))["changed_users"] == len(HOSTILE) + 1
    for plan in plans:
        assert {row["user_id"] for row in plan["users"]} <= {*HOSTILE, "quiet"}
    assert {path.name for path in root.parents[1].iterdir()} == names
    state = str(made.state.relative_to(root.parents[1]))
    assert {k: v for k, v in tree(root.parents[1]).items() if not k.startswith(state)} == {
        k: v for k, v in outside.items() if not k.startswith(state)
    }
    return made


def test_every_id_is_published_as_it_is(made: Deployment) -> None:
    for ds, users in zip(DAYS, (HOSTILE, [*HOSTILE, "quiet"]), strict=True):
        found = [row["user_id"] for row in made.offline_rows("lapse_v1", ds)]
        assert sorted(found) == sorted(users)
    (events,) = (rows_below(path) for path in [Path(made.state, "events", "bill", f"ds={DAYS[0]}")])
    assert sorted((row["user_id"], row["event_id"]) for row in events) == sorted((x, x) for x in HOSTILE)
    assert {row["text"] for row in events} == {f"dairy at {x}" for x in HOSTILE}


def test_corrections_find_their_events(made: Deployment) -> None:
    rows = {row["user_id"]: row for row in made.offline_rows("modality_summaries", DAYS[1])}
    assert {row["bill_num_events"] for user, row in rows.items() if user != "quiet"} == {1}
    assert {row["search_num_events"] for row in rows.values()} == {1}


def test_no_file_is_named_after_an_id(made: Deployment) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=./")
    names = [str(path.relative_to(made.state)) for path in made.state.rglob("*")]
    assert names
    assert not [name for name in names if set(name) - allowed or "passwd" in name or "script" in name]


def test_the_state_verifies_and_reports_are_json(made: Deployment) -> None:
    assert report(made, "state", "verify", "--all")["differences"] == []
    assert report(made, "status")["watermark"] == str(DAYS[1])
    assert [row["action"] for row in report(made, "state", "audit")] == ["run", "run", "init"]


def test_reports_for_people_are_not_steered_by_an_id(made: Deployment) -> None:
    ds = date(2024, 5, 3)
    land_rows(made.lake, "bill", ds, [bill(x, "e3", "2024-05-03 10:00:00") for x in HOSTILE[:20]])
    land_rows(made.lake, "search", ds, [search("quiet", "e3", "2024-05-03 11:00:00")])
    done = cli(made, "run", "--ds", str(ds), "--dry-run")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    assert "[bold]markup[/bold] [/]" in done.stdout
    assert "\\x1b[2J" in done.stdout
    assert "line\\nbreak" in done.stdout
    assert not {char for char in done.stdout if not char.isprintable()} - {"\n"}


def test_feast_serves_every_id_online_and_offline(made: Deployment) -> None:
    store = open_store(made.settings)
    features = ["lapse_v1:lapse_embedding", "modality_summaries:bill_num_events"]
    online = online_rows(store, [*HOSTILE, "nobody"], features)
    assert online["user_id"] == [*HOSTILE, "nobody"]
    assert online["bill_num_events"] == [1] * len(HOSTILE) + [None]
    labels = pd.DataFrame({"user_id": HOSTILE, "event_timestamp": pd.Timestamp("2024-06-01", tz="UTC")})
    offline = historical_rows(store, labels, features)
    assert offline["user_id"].tolist() == HOSTILE
    assert [list(row) for row in offline["lapse_embedding"]] == online["lapse_embedding"][: len(HOSTILE)]


def test_rejected_rows_keep_hostile_ids_as_json(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path, modalities=MODALITIES, limits={"max_rejected_share": 1.0})
    rows = [bill(x, x, "2024-05-01 10:00:00", amount=float("nan")) for x in HOSTILE]
    land_rows(made.lake, "bill", DAYS[0], rows)
    land_rows(made.lake, "search", DAYS[0], [search("quiet", "e", "2024-05-01 11:00:00")])
    assert report(made, "run", "--ds", str(DAYS[0]))["changed_users"] == 1
    rejected = rows_below(made.state / "rejected" / "bill" / f"ds={DAYS[0]}")
    assert [json.loads(row["row"])["user_id"] for row in rejected] == HOSTILE


def test_hostile_users_are_embedded_and_erased(made: Deployment) -> None:
    """The last one: it takes users out of the state that the others look at."""
    before = {str(path) for path in made.state.parent.iterdir()}
    for x in ("'; drop table ledger_heads; --", "nul\0byte", "--json"):
        asked = report(made, "user", "embed", f"--user-id={x}", "--query", x)
        assert (asked["user_id"], asked["query"], len(asked["embedding"])) == (x, x, 8)
    users = [f"--user-id={x}" for x in HOSTILE]
    assert cli(made, "user", "erase", *users, "--verify", "--json").exit_code == 6
    assert report(made, "user", "erase", *users)["users"] == len(HOSTILE)
    proof = report(made, "user", "erase", *users, "--verify")
    assert (proof["users"], proof["places"]) == (len(HOSTILE), [])
    assert report(made, "state", "verify", "--all")["differences"] == []
    assert [row["user_id"] for row in made.offline_rows("lapse_v1", DAYS[1])] == ["quiet"]
    assert online_rows(open_store(made.settings), HOSTILE, ["lapse_v1:lapse_as_of"])["lapse_as_of"] == [None] * len(
        HOSTILE
    )
    assert {str(path) for path in made.state.parent.iterdir()} == before
    audited = report(made, "state", "audit", "--last", "1000")
    assert [row["action"] for row in audited].count("erase") == len(HOSTILE)
    assert "drop table" not in json.dumps(audited)
