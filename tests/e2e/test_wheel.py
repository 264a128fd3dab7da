"""The built wheel, in an environment of its own and far from any checkout, is a whole product."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.conftest import airflow_home_at

ROOT = Path(__file__).parents[2]
FEAST = "from feast.cli.cli import cli; cli()"

pytestmark = [pytest.mark.slow, pytest.mark.airflow]


class Shop:
    """An environment with the wheel, and a deployment that it scaffolded."""

    def __init__(self, root: Path) -> None:
        self.home = root / "shop"
        wheel = self._build(root)
        environment = root / "environment"
        run([sys.executable, "-m", "venv", "--without-pip", str(environment)], root)
        self.python = str(environment / "bin" / "python")
        # What the wheel depends on is there already, but not this checkout: a path file's directories have no path
        # files of their own, so an editable install is not found.
        site = Path(run([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], root).strip())
        (site / "dependencies.pth").write_text(str(Path(click.__file__).parents[1]))
        pip = [sys.executable, "-m", "pip", "--python", self.python]
        run([*pip, "install", "--no-deps", "--no-index", str(wheel)], root)
        self.updater = str(environment / "bin" / "updater")

    @staticmethod
    def _build(root: Path) -> Path:
        copy = root / "source"
        tracked = run(["git", "ls-files", "-z", "updater", "pyproject.toml", "README.md", "LICENSE"], ROOT).split("\0")
        for name in filter(None, tracked):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir"]
        run([*command, str(root / "wheels"), str(copy)], root)
        (wheel,) = (root / "wheels").glob("updater-*.whl")
        return wheel

    def __call__(self, *command: str, **environ: str) -> str:
        """The output of a command in the deployment's directory."""
        return run(list(command), self.home, **environ)


def run(command: list[str], directory: Path, **environ: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "UPDATER", "PYTHONPATH"))}
    done = subprocess.run(command, cwd=directory, env={**kept, **environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    return done.stdout


def test_from_a_wheel_to_a_feature_vector_and_an_airflow_run(tmp_path: Path, airflow_db: Path) -> None:
    shop = Shop(tmp_path)
    run([shop.updater, "new", "shop", "--sample-data"], tmp_path)
    assert str(ROOT) not in shop(shop.python, "-c", "import updater; print(updater.__file__)")
    shop(shop.updater, "init")
    shop(shop.updater, "run", "--ds", "2025-01-28")

    airflow = {
        "AIRFLOW_HOME": str(airflow_home_at(tmp_path / "airflow", airflow_db)),
        "AIRFLOW__CORE__DAGS_FOLDER": str(shop.home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    conf = '{"ds": "2025-01-29"}'
    shop(shop.python, "-m", "airflow", "dags", "test", "shop_daily_update", "--conf", conf, **airflow)
    assert "2025-01-29" in shop(shop.updater, "status")

    keys = ("-e", "user_id=u0000007", "-f", "lapse_v1:lapse_embedding", "-f", "lapse_v1:lapse_as_of")
    read = shop(shop.python, "-c", FEAST, "-c", "feature_repo", "get-online-features", *keys)
    assert '"lapse_embedding"' in read
    assert "1738108800" in read  # the end of 2025-01-28, UTC: nothing happened to this user on the 29th
