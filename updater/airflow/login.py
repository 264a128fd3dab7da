"""Airflow's own check of who asks and what they may see, for pages that a plugin serves.

Airflow mounts a plugin's application beside its own ones and guards it with nothing: whoever reaches the port may read
it. These functions of `airflow.api_fastapi` guard Airflow's own pages; they are no public interface, and
`tests/dags/test_plugin.py` fails when they change.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode


def may_read_dag(dag_id: str) -> Callable[..., Any]:
    """A dependency of FastAPI that answers 401 to who has not logged in, and 403 to who may not read the DAG."""
    from airflow.api_fastapi.core_api.security import requires_access_dag

    check: Callable[..., Any] = requires_access_dag(method="GET", param_dag_id=dag_id)
    return check


def login_url(next_url: str) -> str:
    """Where a browser logs in, and comes back from to `next_url`."""
    from airflow.api_fastapi.app import API_ROOT_PATH

    return f"{API_ROOT_PATH}api/v2/auth/login?{urlencode({'next': next_url})}"
