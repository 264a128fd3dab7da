"""Whole processes: nothing on standard error, nothing over the network, nothing that depends on the timezone."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, SettingsFactory
from tests.integration.store_helpers import CREATED, VIEW, vectors, write_lapse
from tests.processes import fork_script
from updater.settings import Settings

FEAST = str(Path(sys.executable).parent / "feast")

WHOLE_STORY = """
import json, socket, sys
from datetime import date

def refuse(self, address):
    raise AssertionError(f"network: {address}")

socket.socket.connect = refuse

import pandas as pd
from updater import store
from updater.domain.window import day_window
from updater.settings import load_settings

settings = load_settings(sys.argv[1], environ={})
store.apply(settings)
opened = store.open_store(settings)
at = day_window(date(2024, 2, 28), settings.timezone)
rows = store.materialize(opened, at, ["lapse_v1", "takeout_v1"])
features = ["lapse_v1:lapse_as_of", "lapse_v1:lapse_embedding"]
served = opened.get_online_features(features, [{"user_id": "a"}]).to_dict(include_event_timestamps=True)
entities = pd.DataFrame({"user_id": ["a", "a"], "event_timestamp": [at.as_of.replace(tzinfo=None), at.start]})
trained = store.historical_rows(opened, entities, features)
print(json.dumps([rows, served, json.loads(trained.to_json(orient="records"))]))
"""


def environment(settings: Settings, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("UPDATER_", "PYTHON"))}
    return {**clean, "UPDATER_CONFIG": str(settings.source), **more}


def run(*command: str, settings: Settings, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment(settings, **more), cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_any_timezone_gives_the_same_and_standard_error_stays_empty(
    make_settings: SettingsFactory, tmp_path: Path
) -> None:
    results: list[Any] = []
    for zone in ("Asia/Shanghai", "America/Los_Angeles"):
        settings = make_settings(zone)
        at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
        process = run(sys.executable, "-c", WHOLE_STORY, str(settings.source), settings=settings, cwd=tmp_path, TZ=zone)
        assert (process.returncode, process.stderr) == (0, "")
        with sqlite3.connect(settings.online_store.options["path"]) as connection:
            table = connection.execute("SELECT * FROM updater_lapse_v1 ORDER BY feature_name").fetchall()
        results.append((json.loads(process.stdout), table))
    assert results[1] == results[0]

    (rows, served, trained), table = results[0]
    as_of = int(at.as_of.timestamp())
    assert rows == {VIEW: 1, "takeout_v1": 0}
    assert served["lapse_as_of__ts"] == [as_of]
    assert [row["lapse_as_of"] for row in trained] == [as_of, None]
    assert {row[-3:-1] for row in table} == {(as_of, int(CREATED.timestamp()))}


@pytest.mark.slow
def test_the_command_line_reads_from_any_directory(make_settings: SettingsFactory, tmp_path: Path) -> None:
    from updater import store

    settings = make_settings("project")
    at = write_lapse(settings, "2024-02-28", ["it's/ü"], vectors(1, seed=1))
    store.apply(settings)
    store.materialize(settings, at, [VIEW])
    yaml = str(Path(settings.paths.state) / "feature_store.yaml")
    feast = ("-c", str(ROOT / "feature_repo"), "-f", yaml)
    read = (
        "get-online-features",
        "-e",
        "user_id=it's/ü",
        "-f",
        "lapse_v1:lapse_embedding",
        "-f",
        "lapse_v1:lapse_as_of",
    )

    process = run(FEAST, *feast, *read, settings=settings, cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    served = json.loads(process.stdout)
    assert np.array_equal(np.array(served["lapse_embedding"], "f4"), vectors(1, seed=1))
    assert served["lapse_as_of"] == [int(at.as_of.timestamp())]

    # That has shown what a process of its own prints and needs; these begin with the imports done.
    for command in (
        ("apply", "--skip-source-validation"),
        ("materialize", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
    ):
        done = fork_script(Path(FEAST), *feast, *command, env=environment(settings), cwd=tmp_path)
        assert (done.exit_code, done.stderr) == (0, "")
    assert store.online_rows(store.open_store(settings), ["it's/ü"], list(read[4::2])) == served


@pytest.mark.slow
def test_the_committed_file_serves_the_demo_from_the_project_root(
    make_settings: SettingsFactory, tmp_path: Path
) -> None:
    from updater import store

    # A copy of the project's layout, so that a demo that someone has run is left alone.
    settings = make_settings(
        "configs",
        paths={"state": "../demo/state"},
        registry={"url": "sqlite:///../demo/state/registry.db"},
    )
    shutil.copytree(ROOT / "feature_repo", tmp_path / "feature_repo")
    at = write_lapse(settings, "2024-02-28", ["1"], vectors(1, seed=1))
    store.apply(settings)
    store.materialize(settings, at, [VIEW])
    read = ("get-online-features", "-e", "user_id=1", "-f", "lapse_v1:lapse_embedding")
    done = fork_script(Path(FEAST), "-c", "feature_repo", *read, env=environment(settings), cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert np.array_equal(np.array(json.loads(done.stdout)["lapse_embedding"], "f4"), vectors(1, seed=1))
