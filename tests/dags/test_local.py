"""The local Airflow: where its schedule starts, what it refuses, that it comes up and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, SettingsFactory
from tests.factories import bill, land_rows, search
from updater.demo.environment import airflow_environment
from updater.demo.local_airflow import check_free, first_day, local_environment
from updater.errors import ConfigError
from updater.ledger import open_writer, upgrade
from updater.settings import Settings

pytestmark = pytest.mark.airflow


@pytest.fixture
def settings(make_settings: SettingsFactory) -> Settings:
    return make_settings()


def test_an_empty_lake_names_no_first_day(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert first_day(settings) is None
    assert "updater init" in capsys.readouterr().out


def test_the_schedule_starts_with_the_oldest_landed_day(settings: Settings) -> None:
    land_rows(settings.paths.lake, "bill", "2024-01-03", [bill("ann", "a", "2024-01-03")])
    land_rows(settings.paths.lake, "search", "2024-01-02", [search("ann", "a", "2024-01-02")])
    land_rows(settings.paths.lake, "search", "2024-01-01", [search("ann", "b", "2024-01-01")], success=False)
    assert first_day(settings) == "2024-01-02"


def test_the_schedule_goes_on_after_the_last_committed_window(settings: Settings) -> None:
    land_rows(settings.paths.lake, "bill", "2024-01-03", [bill("ann", "a", "2024-01-03")])
    upgrade(settings.ledger.url)
    ledger, now = open_writer(settings.ledger.url), datetime(2024, 6, 1, tzinfo=UTC)
    for ds in (date(2024, 2, 28), date(2024, 2, 29)):
        ledger.open_window(ds, now, now)
    ledger.complete_window(date(2024, 2, 28), {}, now)
    assert first_day(settings) == "2024-02-29"


def test_a_start_date_that_was_asked_for_is_kept(settings: Settings, tmp_path: Path) -> None:
    environment = local_environment(tmp_path, settings, 8080, False, {"UPDATER_DAGS_START_DATE": "2024-05-05"})
    assert environment["UPDATER_DAGS_START_DATE"] == "2024-05-05"


def test_nothing_of_another_airflow_gets_in(settings: Settings, tmp_path: Path) -> None:
    outside = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production", "AIRFLOW_CONN_X": "y", "PATH": "/bin"}
    environment = airflow_environment(tmp_path, settings, outside)
    assert "production" not in str(environment)
    assert "AIRFLOW_CONN_X" not in environment
    assert environment["PATH"] == "/bin"
    assert environment["UPDATER_CONFIG"] == str(settings.source)


def test_a_taken_port_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} .* --port"):
            check_free(port)


@pytest.mark.slow
def test_it_comes_up_and_leaves_no_process_behind(settings: Settings, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "updater.demo.local_airflow",
        "--config",
        str(settings.source),
        "--port",
        str(port),
    ]
    # As from `make airflow &`: such a job starts with SIGINT ignored.
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command, "--home", str(tmp_path / "home")]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as local:
        assert local.stdout is not None
        lines = []
        for line in local.stdout:
            lines.append(line)
            if line.startswith("Logs are in"):
                break
        family = psutil.Process(local.pid).children(recursive=True)
        listening = [c.laddr.ip for child in family for c in child.net_connections("inet") if c.status == "LISTEN"]
        local.send_signal(signal.SIGINT)
        rest = local.stdout.read()
    assert f"http://127.0.0.1:{port}" in "".join(lines)
    assert len(family) >= 4
    assert set(listening) == {"127.0.0.1"}
    assert rest.splitlines()[-1] == "Stopped."
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(child.is_running() for child in family):
        time.sleep(0.1)
    assert [child for child in family if child.is_running()] == []
    assert local.returncode == 0
