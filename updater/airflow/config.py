"""What the DAG files read when Airflow parses them: the config file and three environment variables.

UPDATER_DAGS_START_DATE   first landing day that the schedule processes (YYYY-MM-DD); default 2017-01-01
UPDATER_DAGS_POOL         Airflow pool of the tasks that load the model; default: Airflow's own default pool
UPDATER_DAGS_QUEUE        queue of the same tasks; default: Airflow's own default queue

The start date never moves with the clock: a day that passes while the DAG is paused must still get its run.
The pool must exist and a worker must listen to the queue, or tasks wait indefinitely; so neither is set unless asked
for.
"""

import os
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import pendulum

from updater.errors import ConfigError
from updater.settings import load_settings

START_DATE = "UPDATER_DAGS_START_DATE"
POOL = "UPDATER_DAGS_POOL"
QUEUE = "UPDATER_DAGS_QUEUE"
DEFAULT_START_DATE = "2017-01-01"


def start_date(timezone: str, environ: Mapping[str, str] = os.environ, first_day: str | None = None) -> datetime:
    """Local midnight of the first landing day that the schedule processes: `first_day`, else the environment's.

    Raises:
        ConfigError: it is no day.
    """
    text = first_day or environ.get(START_DATE) or DEFAULT_START_DATE
    try:
        first = date.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{'first_day' if first_day else START_DATE} is {text!r}; use a landing day such as {DEFAULT_START_DATE}."
        ) from None
    return pendulum.datetime(first.year, first.month, first.day, tz=timezone)


def model_task(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Arguments of the tasks that load the model: where they may run, and how many at a time."""
    return {name: environ[variable] for name, variable in (("pool", POOL), ("queue", QUEUE)) if environ.get(variable)}


def config_file(context: Mapping[str, Any]) -> str | None:
    """The config of the deployment that a run belongs to; None for the one that UPDATER_CONFIG names."""
    file: str | None = context["params"].get("config")
    return file


def landing_day(context: Mapping[str, Any]) -> str:
    """The landing day (YYYY-MM-DD) of a run: its `ds` param, else the local day that its data interval starts.

    Never the logical date or the run id: a scheduled run and one by hand give the same day different ones.
    Raises ConfigError for a run that has neither.
    """
    if ds := context["params"].get("ds"):
        return str(ds)
    start = context.get("data_interval_start")
    if start is None:
        raise ConfigError('this run has no data interval; trigger it with --conf \'{"ds": "YYYY-MM-DD"}\'.')
    return str(pendulum.instance(start).in_timezone(load_settings(config_file(context)).timezone).date())
