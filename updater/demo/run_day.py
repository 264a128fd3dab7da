"""One landing day through the daily DAG, without a scheduler.

Airflow reads its configuration when it is imported, so the run has a process and an environment of its own: this
module, which prints one JSON object; all else goes to the log.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from updater.demo.airflow_internals import run_dag
from updater.demo.environment import airflow_environment
from updater.domain.window import day_window
from updater.errors import UpdaterError
from updater.settings import Settings, load_settings


def run_day(settings_path: str, ds: date) -> dict[str, Any]:
    """Run `daily_update` for landing day `ds`, in a new process.

    Airflow's database and log are in `<state>/airflow`, or in a temporary directory if the state is on no local disk.

    Returns:
        `{"state": "success", "tasks": {"detect[bill]": "success", ...}, "seconds": {"detect": 4.2, ...}, "log":
        "<path>"}`; seconds are summed over the mapped tasks of a step.

    Raises:
        ConfigError: the config cannot be used.
        UpdaterError: Airflow could not run the DAG at all; a failed task is a state, not an error.
    """
    settings = load_settings(settings_path)
    environment = airflow_environment(_home(settings.paths.state), settings, os.environ)
    command = [sys.executable, "-m", "updater.demo.run_day", "--config", str(settings.source), "--ds", ds.isoformat()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UpdaterError(f"Airflow could not run {ds}: {why[-1]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@click.command()
@click.option("--config", required=True, help="The config file.")
@click.option("--ds", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The landing day.")
def main(config: str, ds: datetime) -> None:
    """Run daily_update for one landing day in the Airflow of AIRFLOW_HOME; print its tasks' states as JSON."""
    settings = load_settings(config)
    log = Path(os.environ["AIRFLOW_HOME"]) / "run_day.log"
    answer, errors = os.dup(1), os.dup(2)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        report = _test(settings, ds.date())
    except Exception:
        traceback.print_exc()
        os.write(errors, f"see {log}.\n".encode())
        raise SystemExit(1) from None
    os.write(answer, json.dumps({**report, "log": str(log)}).encode())


def _home(state: str) -> Path:
    if "://" in state:
        return Path(tempfile.mkdtemp(prefix="updater-airflow-"))
    home = Path(state) / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    return home


def _test(settings: Settings, ds: date) -> dict[str, Any]:
    end = day_window(ds, settings.timezone).end
    run = run_dag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], "daily_update", end, {"ds": ds.isoformat()})
    tasks: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for ti in run.get_task_instances():
        name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.rendered_map_index or ti.map_index}]"
        tasks[name] = str(ti.state)
        seconds[ti.task_id] = round(seconds.get(ti.task_id, 0.0) + (ti.duration or 0.0), 3)
    return {"state": str(run.state), "tasks": tasks, "seconds": seconds}


if __name__ == "__main__":
    main()
