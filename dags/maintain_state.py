"""Once a week: is the daily job well, is the state right, and merge what has piled up.

    airflow dags trigger maintain_state

A crossed bound or a difference fails its task and the run; nothing is merged in a state that differs from its rebuild.
`daily_update` may run at the same time. More in docs/airflow.md.
"""

from airflow.sdk import CronTriggerTimetable, Param, dag, task

from updater.airflow import maintenance
from updater.airflow.config import model_task, start_date
from updater.airflow.retries import TASK_DEFAULTS
from updater.settings import load_settings

SETTINGS = load_settings()


@dag(
    schedule=CronTriggerTimetable("0 12 * * 0", timezone=SETTINGS.timezone),
    start_date=start_date(SETTINGS.timezone),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params={"verify_users": Param(200, type="integer", minimum=1, description="Users to check against a rebuild.")},
    tags=["updater"],
    doc_md=__doc__,
)
def maintain_state():
    """Check the bounds; verify, then maintain; in any case, write metrics."""
    check = task(maintenance.check_bounds)()
    verify = task(maintenance.verify, **model_task())()
    maintain = task(maintenance.maintain)()
    # A teardown runs whatever failed before it. A last task that did the same would make the failed run a success, and
    # so does a teardown with `on_failure_fail_dagrun`.
    metrics = task(maintenance.write_metrics)().as_teardown()

    verify >> maintain
    [check, maintain] >> metrics


maintain_state()
