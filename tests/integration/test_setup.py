"""What `updater init` looks at before it makes anything, and what it says when it registers views again."""

import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.conftest import SettingsFactory
from tests.deployment import Deployment
from tests.integration.feast_cli import feast
from tests.integration.store_helpers import store_options
from tests.strategies import TOUR
from updater import store, tables
from updater.errors import ConfigError, ServiceUnavailableError
from updater.pipeline.erase.proof import find
from updater.pipeline.init import initialize
from updater.settings import load_settings


def test_a_missing_feature_repository_is_found_before_anything_is_made(
    make_settings: SettingsFactory, tmp_path: Path
) -> None:
    settings = make_settings(paths={"feature_repo": "nowhere"})
    with pytest.raises(ConfigError, match=r"nowhere has no Python files; take .* or set paths\.feature_repo"):
        initialize(settings)
    assert not Path(settings.paths.state).exists()


def test_a_model_and_a_ledger_outlive_a_teardown_and_init_says_how_values_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Deployment.create(tmp_path)
    TOUR.land(made.lake)
    made.run(TOUR.windows[:2])
    report = initialize(made.settings)
    assert report.not_loaded == []
    assert feast(made.settings, "teardown").exit_code == 0

    back = initialize(made.settings)
    assert back.model == report.model
    assert set(back.not_loaded) == set(back.feature_views)
    tables.show_setup(asdict(back))
    shown = capsys.readouterr().out
    assert "without online values: " in shown and back.load in shown
    # The command, as it is shown, but for the name of the program and its two options.
    command = back.load.split()
    assert command[:5] == [
        "feast",
        "-c",
        made.settings.paths.feature_repo,
        "-f",
        f"{made.settings.paths.state}/feature_store.yaml",
    ]
    assert feast(made.settings, *command[5:]).exit_code == 0
    views = store.open_store(made.settings).list_feature_views()
    with sqlite3.connect(Path(made.state, "online.db")) as connection:
        for view in views:
            users = {row["user_id"] for day in TOUR.windows[:2] for row in made.offline_rows(view.name, day)}
            rows = connection.execute(f'SELECT count(DISTINCT entity_key) FROM "updater_{view.name}"').fetchone()
            assert rows == (len(users),)
    assert initialize(made.settings).not_loaded == []


def test_a_registry_that_is_searched_in_vain_is_called_the_registry(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path)
    away = {"UPDATER_REGISTRY__URL": "postgresql+psycopg://postgres@127.0.0.1:1/feast"}
    gone = Deployment(load_settings(made.settings.source, away))
    with pytest.raises(ServiceUnavailableError, match=r"The registry at postgresql.*registry\.url is right"):
        find(gone.context, ["somebody"])


@pytest.mark.services
def test_one_database_may_be_ledger_registry_and_online_store(
    tmp_path: Path, postgres_url: str, request: pytest.FixtureRequest
) -> None:
    made = Deployment.create(
        tmp_path,
        ledger={"url": postgres_url},
        registry={"url": postgres_url},
        online_store=store_options("postgres", request),
    )
    TOUR.land(made.lake)
    made.run(TOUR.windows[:1])
    assert feast(made.settings, "teardown").exit_code == 0
    assert set(initialize(made.settings).not_loaded) == {"modality_summaries", "lapse_v1", "takeout_v1"}
    assert find(made.context, ["nobody-of-that-name"]).places == []


def test_places_are_shown_by_directory_and_not_all(capsys: pytest.CaptureFixture[str]) -> None:
    offline = [
        f"{what} of /state/offline/lapse_v1/ds=2024-05-{day:02}/bucket-001.parquet"
        for day in range(1, 20)
        for what in ("rows", "bytes")
    ]
    many = [f"bytes of /state/part{number:02}/file" for number in range(30)]
    online = ["online store (sqlite): table updater_lapse_v1"]
    tables.show_erasure_proof({"users": 1, "files": 9, "places": [*online, *many, *offline]})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + tables.MOST_PLACES
    assert "  /state/offline/lapse_v1: 38 places (bytes, rows)" in lines
    assert lines[-1] == "  and 12 more; `--json` has them all."
    tables.show_erasure_proof({"users": 1, "files": 9, "places": online})
    assert capsys.readouterr().out.splitlines()[1:] == [f"  {online[0]}"]
