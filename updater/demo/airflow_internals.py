"""Airflow's functions that are not public: `airflow.sdk` has none that runs a DAG without a scheduler.

`tests/dags/test_internals.py` fails when they change.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

HEALTHY_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


def run_dag(folder: str, dag_id: str, logical_date: datetime, run_conf: Mapping[str, Any]) -> Any:
    """Make Airflow's database if there is none, run a DAG in this process, and return the run."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    bag = DagBag(folder, bundle_name="dags-folder")
    return bag.dags[dag_id].test(logical_date=logical_date, run_conf=dict(run_conf))


def is_healthy(health: Mapping[str, Any]) -> bool:
    """Whether every component says so in the answer of `/api/v2/monitor/health`."""
    return all(health[part]["status"] == "healthy" for part in HEALTHY_PARTS)
