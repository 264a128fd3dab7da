"""A new model: training data, pre-training, a soft prompt for every scenario, evaluation, promotion if it is better.

    airflow dags trigger train_model

The evaluation's gate decides: a model that is not better than the same one without a step of training and than mean
text vectors, or whose tuned prompts are worse than none, fails the task `gate` and is not promoted. `daily_update` may
run at the same time; promotion takes effect between two windows. More in docs/airflow.md.
"""

from airflow.sdk import dag, task

from updater.airflow import learning
from updater.airflow.config import model_task, start_date
from updater.airflow.retries import TASK_DEFAULTS
from updater.settings import load_settings

SETTINGS = load_settings()


@dag(
    schedule=None,
    start_date=start_date(SETTINGS.timezone),
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    tags=["updater"],
    doc_md=__doc__,
)
def train_model():
    """Build data, pre-train, tune per scenario, join, evaluate, and promote behind the gate."""
    data = task(learning.build_data)()
    model = task(learning.pretrain, **model_task())()
    scenarios = task(learning.tunable_scenarios)()
    prompts = task(learning.tune, **model_task()).partial(model=model).expand(scenario=scenarios)
    tuned = task(learning.join_prompts)(model)
    report = task(learning.evaluate, **model_task())(tuned)
    gate = task(learning.check_gate)(report)
    promoted = task(learning.promote, **model_task())(tuned)

    data >> model
    prompts >> tuned
    gate >> promoted


train_model()
