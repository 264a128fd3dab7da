"""One landing day into fresh user embeddings.

The schedule runs a day after it has ended, in the config's timezone. By hand, always name the day with `ds`:

    airflow dags trigger daily_update --conf '{"ds": "2017-06-30"}'      # through the scheduler
    airflow dags test daily_update --conf '{"ds": "2017-06-30"}'         # here and now

A day that has not landed makes the run wait, not fail. A failed day pauses the DAG: repair, clear the failed tasks,
unpause. Older days: `replay`. More in docs/airflow.md.
"""

from airflow.sdk import CronDataIntervalTimetable, Param, dag, task

from updater.airflow import tasks
from updater.airflow.assets import feature_view_assets
from updater.airflow.config import model_task, start_date
from updater.airflow.landing import LandingSensor
from updater.airflow.retries import TASK_DEFAULTS
from updater.settings import load_settings

SETTINGS = load_settings()
MODALITY = "{{ task.op_kwargs['modality'] }}"


@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=SETTINGS.timezone),
    start_date=start_date(SETTINGS.timezone),
    catchup=True,
    max_active_runs=1,
    max_consecutive_failed_dag_runs=1,
    allowed_run_types=["scheduled", "manual", "operator_triggered"],
    default_args=TASK_DEFAULTS,
    params={
        "ds": Param(None, type=["null", "string"], format="date", description="Landing day, if not the interval's."),
        "num_groups": Param(2, type="integer", minimum=1, maximum=1024, description="Refresh tasks of the day."),
        "verify_users": Param(20, type="integer", minimum=1, description="Users to check against a full rebuild."),
    },
    tags=["updater"],
    doc_md=__doc__,
)
def daily_update():
    """Wait, detect, encode, refresh, publish, materialise, verify."""
    wait = LandingSensor(task_id="wait_for_landing", poke_interval=60)
    detect = task(tasks.detect, map_index_template=MODALITY).expand(modality=[m.name for m in SETTINGS.modalities])
    to_encode = task(tasks.modalities_to_encode)(detect)
    encode = task(tasks.encode, map_index_template=MODALITY, **model_task()).expand(modality=to_encode)
    groups = task(tasks.bucket_groups)()
    # A day without new texts skips `encode`; its users are refreshed all the same, because events may have expired.
    refresh = task(tasks.refresh, trigger_rule="none_failed", **model_task()).expand(buckets=groups)
    publish = task(tasks.publish)()
    materialise = task(tasks.materialise, outlets=feature_view_assets(SETTINGS))()
    verify = task(tasks.verify, **model_task())()

    wait >> detect >> groups
    encode >> refresh >> publish >> materialise >> verify


daily_update()
