"""Terminals and logs that are not UTF-8: every command prints, and none fails because of a missing character."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.deployment import Deployment
from tests.factories import bill, land_rows
from updater.cli import main

DAYS = [date(2024, 5, 1), date(2024, 5, 2)]
USERS = ["José", "用户", "plain"]
MODALITIES = [{"name": "bill", "text": "{category}", "numeric": ["amount"], "max_events": 4}]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = Deployment.create(tmp_path_factory.mktemp("terminal"), modalities=MODALITIES)
    for ds in DAYS:
        rows = [bill(user, f"e{ds}", f"{ds} 10:00:00", category="crème") for user in USERS]
        land_rows(made.lake, "bill", ds, rows)
    made.run(DAYS[:1])
    return made


def cli(made: Deployment, charset: str, *args: str) -> Result:
    return CliRunner(charset=charset).invoke(main, [*args, "--config", str(made.settings.source)])


COMMANDS = [
    ("init",),
    ("run", "--ds", "2024-05-02", "--dry-run"),
    ("backfill", "--from-date", "2024-05-01", "--to-date", "2024-05-02", "--dry-run"),
    ("status",),
    (
        "state",
        "metrics",
    ),
    (
        "state",
        "audit",
    ),
    ("state", "verify", "--all"),
    ("state", "compact", "--dry-run"),
    ("user", "erase", "--user-id", "José", "--verify"),
    ("user", "embed", "--user-id", "用户", "--query", "Will this user buy crème?"),
    ("user", "embed", "--user-id", "niemand ö", "--query", "?"),
    ("user", "erase", "--users-file", "größe.txt"),
]


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:1]))
def test_every_command_prints(made: Deployment, charset: str, command: tuple[str, ...]) -> None:
    wanted, done = cli(made, "utf-8", *command), cli(made, charset, *command)
    assert done.exit_code == wanted.exit_code
    assert "UnicodeEncodeError" not in done.output
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert bool(done.stdout) == bool(wanted.stdout)


def test_tables_fall_back_to_ascii(made: Deployment) -> None:
    plan = cli(made, "ascii", "run", "--ds", "2024-05-02", "--dry-run")
    assert "First changed users" in plan.stdout
    assert "│" not in plan.stdout
    assert "Jos\\xe9" in plan.stdout and "\\u7528\\u6237" in plan.stdout
    assert "José" in cli(made, "latin-1", "run", "--ds", "2024-05-02", "--dry-run").stdout
    same = json.loads(cli(made, "ascii", "run", "--ds", "2024-05-02", "--dry-run", "--json").stdout)
    assert {user["user_id"] for user in same["users"]} == set(USERS)


@pytest.mark.parametrize(
    "environ", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_process_in_such_a_terminal(made: Deployment, environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "updater.cli", "run", "--ds", "2024-05-02", "--dry-run"]
    done = subprocess.run(
        [*command, "--config", str(made.settings.source)],
        env={**os.environ, **environ},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"First changed users" in done.stdout
