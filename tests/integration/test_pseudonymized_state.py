"""A state with pseudonyms: it works as any other, and no id of the lake is anywhere in it."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from tests.deployment import Deployment, write_config
from tests.factories import MODALITIES, bill, land_rows, search
from updater.cli import main
from updater.errors import ConfigError
from updater.labels.events import open_events
from updater.labels.tables import label_tables
from updater.labels.tasks import Task
from updater.lake.pseudonyms import Pseudonyms
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.runtime.deployment import open_context
from updater.settings import load_settings
from updater.store.access import historical_rows, online_rows
from updater.store.repository.connecting import open_store

KEY, OTHER_KEY = "k" * 40, "o" * 40
HASHES = Pseudonyms(KEY.encode())
USERS = ["ann.smith@example.com", "bob.stone@example.com", "zoë.wolf@example.com"]
TRACES = ("smith", "stone", "wolf")
DAYS = [date(2024, 5, 1) + timedelta(days=offset) for offset in range(3)]
PRIVATE = {
    "modalities": MODALITIES,
    "privacy": {"pseudonymize": True},
    "limits": {"max_rejected_share": 0.9},
    "profile": {"enabled": True},
}


def cli(made: Deployment, *args: str) -> Result:
    return CliRunner().invoke(main, [*args, "--config", str(made.settings.source)])


def land(lake: str) -> None:
    for number, ds in enumerate(DAYS):
        rows = [bill(user, f"e{ds}", f"{ds} 10:00:00", amount=2.0) for user in USERS[: number + 1]]
        broken = {**rows[0], "event_id": "broken", "amount": float("nan")}
        land_rows(lake, "bill", ds, [*rows, broken])
        land_rows(lake, "search", ds, [search(USERS[0], f"s{ds}", f"{ds} 11:00:00")])


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDATER_ID_KEY", KEY)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDATER_ID_KEY", KEY)
        deployment = Deployment.create(tmp_path_factory.mktemp("private"), **PRIVATE)
        land(deployment.lake)
        deployment.run(DAYS)
        yield deployment


def content(path: Path) -> str:
    """All that can be read out of a file of the state, unpacked."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return f"{table.schema.metadata} {table.to_pylist()}"
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            return str(source.read_buffer().to_pybytes())
    if path.suffix == ".db":
        with sqlite3.connect(path) as connection:
            rows = [
                row
                for (name,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall()
                for row in connection.execute(f'select * from "{name}"')
            ]
        return str(rows)
    return path.read_bytes().decode(errors="replace")


def test_no_id_is_anywhere_in_the_state(made: Deployment) -> None:
    files = {path.relative_to(made.state): content(path) for path in made.state.rglob("*") if path.is_file()}
    assert {path.parts[0] for path in files} >= {"events", "changes", "rejected", "offline", "summaries", "online.db"}
    assert not [path for path, text in files.items() for trace in TRACES if trace in text or trace in str(path)]
    assert not [path for path, text in files.items() if KEY in text]
    # The check can fail: the pseudonyms are found where the ids would be.
    for part in ("events", "changes", "rejected", "offline", "summaries", "online.db"):
        assert any(HASHES.of(USERS[0]) in text for path, text in files.items() if path.parts[0] == part), part


def test_the_state_verifies(made: Deployment) -> None:
    report = verify(made.context, None)
    assert (report.users, report.differences) == (3, [])


def test_features_are_read_by_pseudonym_online_and_offline(made: Deployment) -> None:
    store = open_store(made.settings)
    features = ["lapse_v1:lapse_embedding", "modality_summaries:bill_num_events"]
    asked = [*map(HASHES.of, USERS), USERS[0]]
    online = online_rows(store, asked, features)
    assert online["bill_num_events"] == [3, 2, 1, None]
    labels = pd.DataFrame({"user_id": asked, "event_timestamp": pd.Timestamp("2024-06-01", tz="UTC")})
    offline = historical_rows(store, labels, features)
    assert [list(row) for row in offline["lapse_embedding"][:3]] == online["lapse_embedding"][:3]
    assert offline["bill_num_events"].isna().tolist() == [False, False, False, True]
    texts = online_rows(store, asked, "profile_v1")["profile_text"]
    assert texts[0].startswith("bill: regularly ")
    assert texts[3] is None
    assert historical_rows(store, labels, "profile_v1")["profile_text"].tolist()[:3] == texts[:3]


def test_labels_carry_pseudonyms(made: Deployment) -> None:
    visits = {"active_in": "bill", "history_days": 5, "modality": "bill", "horizon_days": 1}
    task = Task(name="t", domain="risk", kind="occurs", parameters=visits)
    with open_events(made.context) as events:
        table = label_tables(events, [task], [DAYS[1]])["t"]
    assert table["user_id"].to_pylist() == sorted(map(HASHES.of, USERS[:2]))


def test_the_command_prints_a_pseudonym_for_joins(made: Deployment) -> None:
    done = cli(made, "user", "pseudonym", "--user-id", USERS[2])
    assert (done.exit_code, done.output) == (0, HASHES.of(USERS[2]) + "\n")
    done = cli(made, "user", "pseudonym", "--user-id", USERS[2], "--json")
    assert json.loads(done.output) == {"pseudonym": HASHES.of(USERS[2])}


def test_reports_name_no_id(made: Deployment) -> None:
    land_rows(made.lake, "bill", date(2024, 5, 4), [bill(USERS[0], "e4", "2024-05-04 10:00:00")])
    land_rows(made.lake, "search", date(2024, 5, 4), [search(USERS[0], "s4", "2024-05-04 11:00:00")])
    for args in (
        ("run", "--ds", "2024-05-04", "--dry-run"),
        ("status",),
        ("state", "verify", "--all"),
        (
            "state",
            "audit",
        ),
    ):
        done = cli(made, *args, "--json")
        assert done.exit_code == 0, done.output
        assert not [trace for trace in TRACES if trace in done.output]
    assert HASHES.of(USERS[0]) in cli(made, "run", "--ds", "2024-05-04", "--dry-run").output.replace("\n", "")


@pytest.mark.parametrize(
    "verb", [("status",), ("run", "--ds", "2024-05-04"), ("init",), ("user", "pseudonym", "--user-id", "u")]
)
def test_another_key_is_refused_and_not_shown(
    made: Deployment, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    monkeypatch.setenv("UPDATER_ID_KEY", OTHER_KEY)
    done = cli(made, *verb)
    assert done.exit_code == 2
    assert "The key in $UPDATER_ID_KEY is not the one that the state was made with" in done.output
    assert OTHER_KEY not in done.output
    monkeypatch.delenv("UPDATER_ID_KEY")
    done = cli(made, *verb)
    assert done.exit_code == 2
    assert "$UPDATER_ID_KEY, which is not set" in done.output


def test_pseudonyms_can_be_neither_turned_off_nor_on(made: Deployment, tmp_path: Path) -> None:
    config = made.settings.source.read_text().replace("pseudonymize = true", "pseudonymize = false")
    off = made.settings.source.with_name("off.toml")
    off.write_text(config)
    with pytest.raises(ConfigError, match=r"privacy.pseudonymize is 'false' .* made with 'true'"):
        open_context(load_settings(off, environ={}))
    plain = Deployment.create(tmp_path)
    write_config(tmp_path, privacy={"pseudonymize": True})
    on = load_settings(plain.settings.source, environ={})
    with pytest.raises(ConfigError, match=r"privacy.pseudonymize is 'true' .* made with 'false'"):
        initialize(on)
    done = cli(plain, "user", "pseudonym", "--user-id", "u")
    assert done.exit_code == 2
    write_config(tmp_path)
    done = cli(plain, "user", "pseudonym", "--user-id", "u")
    assert "does not set privacy.pseudonymize" in done.output


def test_commands_take_the_id_of_the_lake(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path, **PRIVATE)
    land(made.lake)
    made.run(DAYS)
    done = cli(made, "user", "embed", "--user-id", USERS[1], "--query", "Does this user like milk?", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["user_id"] == HASHES.of(USERS[1])
    done = cli(made, "user", "profile", "--user-id", USERS[0], "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["user_id"] == HASHES.of(USERS[0])
    done = cli(made, "user", "embed", "--user-id", "unknown.person", "--query", "Why?")
    assert done.exit_code == 10
    assert HASHES.of("unknown.person") in done.output and "unknown.person" not in done.output
    assert cli(made, "user", "erase", "--user-id", USERS[1], "--verify").exit_code == 6
    assert cli(made, "user", "erase", "--user-id", USERS[1]).exit_code == 0
    assert cli(made, "user", "erase", "--user-id", USERS[1], "--verify").exit_code == 0
    report = verify(made.context, None)
    assert (report.users, report.differences) == (2, [])
