"""Two deployments in one Airflow: DAG ids, configs, assets and states of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import airflow_home_at
from tests.deployment import Deployment
from tests.strategies import TOUR

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG_FILE = """
from updater.airflow.dags import daily_update, maintain_state, backfill, train_model

daily = daily_update(config={config!r}, dag_id="{name}_daily_update", namespace="{name}")
maintain = maintain_state(config={config!r}, dag_id="{name}_maintain_state")
backfills = backfill(config={config!r}, dag_id="{name}_backfill", namespace="{name}")
training = train_model(config={config!r}, dag_id="{name}_train_model")
"""
DAY = str(TOUR.windows[0])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, airflow_db: Path) -> Path:
    """An Airflow home whose DAG folder has one file per deployment."""
    root = airflow_home_at(tmp_path_factory.mktemp("airflow"), airflow_db)
    (root / "dags").mkdir()
    for name in ("north", "south"):
        deployment = Deployment.create(root / name)
        TOUR.land(deployment.lake)
        code = DAG_FILE.format(name=name, config=str(deployment.settings.source))
        (root / "dags" / f"{name}.py").write_text(code)
    return root


def airflow(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Airflow's command line, with nothing but the DAG files to say where the deployments are."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "UPDATER"))},
        "AIRFLOW_HOME": str(root),
        "AIRFLOW__CORE__DAGS_FOLDER": str(root / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    command = [sys.executable, "-m", "airflow", *args]
    return subprocess.run(command, env=environ, cwd=root, capture_output=True, text=True, check=False)


def watermark(root: Path, name: str) -> str | None:
    found = Deployment.open(root / name).context.ledger.watermark()
    return str(found) if found else None


def test_two_deployments_live_side_by_side(root: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(root / "dags", bundle_name="dags-folder").dags
    kinds = ("daily_update", "maintain_state", "backfill", "train_model")
    assert set(found) == {f"{name}_{kind}" for name in ("north", "south") for kind in kinds}
    for name in ("north", "south"):
        outlets = found[f"{name}_daily_update"].get_task("materialize").outlets
        assert [asset.name for asset in outlets] == [
            f"{name}/{view}" for view in ("lapse", "takeout", "modality_summaries")
        ]

    done = airflow(root, "dags", "test", "north_daily_update", "--conf", json.dumps({"ds": DAY}))

    assert done.returncode == 0, done.stderr[-2000:]
    assert watermark(root, "north") == DAY
    assert watermark(root, "south") is None


def test_a_run_cannot_be_sent_to_another_deployment(root: Path) -> None:
    other = str(root / "north" / "updater.toml")
    conf = json.dumps({"ds": DAY, "config": other})
    done = airflow(root, "dags", "test", "south_daily_update", "--conf", conf)
    assert done.returncode != 0
    assert "config" in done.stderr + done.stdout
    assert watermark(root, "south") is None
