"""Missing landing days, oldest first: what `updater backfill` does, spread over tasks.

    airflow dags trigger replay --conf '{"from_date": "2017-01-01", "to_date": "2017-06-30"}'

Both dates are inclusive landing days. Days that are already published are left alone, so a replay that failed is
simply run again. Each task walks all its days in order, with the model loaded once. More in docs/airflow.md.
"""

from airflow.sdk import Param, dag, task

from updater.airflow import tasks
from updater.airflow.assets import feature_view_assets
from updater.airflow.config import model_task
from updater.airflow.retries import TASK_DEFAULTS
from updater.settings import load_settings

SETTINGS = load_settings()
MODALITY = "{{ task.op_kwargs['modality'] }}"


@dag(
    schedule=None,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params={
        "from_date": Param(type="string", format="date", description="First landing day."),
        "to_date": Param(type="string", format="date", description="Last landing day, inclusive."),
        "num_groups": Param(2, type="integer", minimum=1, maximum=1024, description="Refresh tasks."),
        "verify_users": Param(20, type="integer", minimum=1, description="Users to check against a full rebuild."),
    },
    tags=["updater"],
    doc_md=__doc__,
)
def replay():
    """Find the missing days, prepare each modality, refresh each group of buckets, publish, verify."""
    days = task.short_circuit(tasks.missing_days)()
    prepare = task(tasks.prepare_days, map_index_template=MODALITY, **model_task())
    prepared = prepare.partial(days=days).expand(modality=[m.name for m in SETTINGS.modalities])
    groups = task(tasks.bucket_groups_of_days)(days)
    refreshed = task(tasks.refresh_days, **model_task()).partial(days=days).expand(buckets=groups)
    publish = task(tasks.publish_days, outlets=feature_view_assets(SETTINGS))(days)
    verify = task(tasks.verify_days, **model_task())(days)

    prepared >> groups
    refreshed >> publish >> verify


replay()
