"""The environment of an Airflow of our own: nothing of another Airflow on this machine gets in."""

from collections.abc import Mapping
from pathlib import Path

from updater.errors import ConfigError
from updater.settings import Settings

CHECKOUT = Path(__file__).parents[2]


def airflow_environment(home: Path, settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables for an Airflow that keeps its files and SQLite database in `home` and has this checkout's DAGs.

    Raises ConfigError where there are no DAGs, because the package was not installed from a checkout in place.
    """
    dags = CHECKOUT / "dags"
    if not (dags / "daily_update.py").is_file():
        raise ConfigError(f"{dags} has no DAGs; install from a checkout with `pip install -e .`.")
    kept = {name: value for name, value in environ.items() if not name.startswith("AIRFLOW")}
    return {
        **kept,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "UPDATER_CONFIG": str(settings.source),
    }
