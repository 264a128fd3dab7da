"""Factories of the DAGs: what a file of Airflow's DAG folder calls.

    from updater.airflow.dags import daily_update

    dag = daily_update(config="/srv/shop/updater.toml", dag_id="shop_daily_update")

Each takes the deployment's config file, so that several deployments live in one Airflow; None is the one that
UPDATER_CONFIG names. Their assets are distinguished by `namespace`.
"""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, CronTriggerTimetable, Param, PartitionedAssetTimetable, task

from updater.airflow.assets import NAMESPACE, feature_view_assets, summaries_asset
from updater.airflow.config import model_task, start_date
from updater.airflow.landing import LandingSensor
from updater.airflow.retries import TASK_DEFAULTS
from updater.airflow.tasks import daily as tasks
from updater.airflow.tasks import fidelity as fidelity_tasks
from updater.airflow.tasks import maintenance, training
from updater.airflow.tasks import profiles as profile_tasks
from updater.settings import load_settings

MODALITY = "{{ task.op_kwargs['modality'] }}"
NUM_GROUPS = Param(2, type="integer", minimum=1, maximum=1024, description="Refresh tasks.")
VERIFY_USERS = Param(20, type="integer", minimum=1, description="Users to check against a rebuild.")


def _dag(
    doc: str | None,
    config: str | None,
    dag_id: str,
    schedule: Any = None,
    *,
    params: Mapping[str, Param] | None = None,
    catchup: bool = False,
    **more: Any,
) -> DAG:
    """A DAG with what all of them have; nobody who triggers a run can change its config file."""
    told = Param(config, type=["null", "string"], const=config, description="Config file of the deployment.")
    return DAG(
        dag_id=dag_id,
        schedule=schedule,
        catchup=catchup,
        max_active_runs=1,
        default_args=TASK_DEFAULTS,
        tags=["updater"],
        doc_md=doc,
        params={**(params or {}), "config": told},
        **more,
    )


def _after_a_day(doc: str | None, config: str | None, dag_id: str, namespace: str, **params: Param) -> DAG:
    """A DAG that runs when `daily_update` has brought a day online, or by hand for a day."""
    schedule = PartitionedAssetTimetable(assets=summaries_asset(namespace))
    day = Param(None, type=["null", "string"], format="date", description="Landing day, if not the newest.")
    return _dag(doc, config, dag_id, schedule, params={"ds": day, **params})


def daily_update(
    config: str | None = None,
    dag_id: str = "daily_update",
    namespace: str = NAMESPACE,
    first_day: str | None = None,
) -> DAG:
    """One landing day into fresh user embeddings.

    The schedule runs a day after it has ended, in the config's timezone. By hand, always name the day with `ds`:

        airflow dags trigger daily_update --conf '{"ds": "2017-06-30"}'      # through the scheduler
        airflow dags test daily_update --conf '{"ds": "2017-06-30"}'         # here and now

    A day that has not landed makes the run wait, not fail. A failed day pauses the DAG: repair, clear the failed tasks,
    unpause. Older days: `backfill`. The schedule begins with the landing day `first_day` (YYYY-MM-DD), by default
    that of UPDATER_DAGS_START_DATE.
    """
    settings = load_settings(config)
    day = Param(None, type=["null", "string"], format="date", description="Landing day, if not the interval's.")
    with _dag(
        daily_update.__doc__,
        config,
        dag_id,
        CronDataIntervalTimetable("0 0 * * *", timezone=settings.timezone),
        params={"ds": day, "num_groups": NUM_GROUPS, "verify_users": VERIFY_USERS},
        start_date=start_date(settings.timezone, first_day=first_day),
        catchup=True,
        max_consecutive_failed_dag_runs=1,
        allowed_run_types=["scheduled", "manual", "operator_triggered"],
    ) as dag:
        wait = LandingSensor(task_id="wait_for_landing", poke_interval=60)
        detect = task(map_index_template=MODALITY)(tasks.detect).expand(modality=[m.name for m in settings.modalities])
        to_encode = task(tasks.modalities_to_encode)(detect)
        encode = task(map_index_template=MODALITY, **model_task())(tasks.encode).expand(modality=to_encode)
        groups = task(tasks.bucket_groups)()
        # A day without new texts skips `encode`; its users are refreshed all the same: events may have expired.
        refresh = task(trigger_rule="none_failed", **model_task())(tasks.refresh).expand(buckets=groups)
        publish = task(tasks.publish)()
        materialize = task(outlets=feature_view_assets(settings, namespace))(tasks.materialize)()
        verify = task(**model_task())(tasks.verify)()

        wait >> detect >> groups
        encode >> refresh >> publish >> materialize >> verify

    return dag


def backfill(config: str | None = None, dag_id: str = "backfill", namespace: str = NAMESPACE) -> DAG:
    """Missing landing days, oldest first: what `updater backfill` does, spread over tasks.

        airflow dags trigger backfill --conf '{"from_date": "2017-01-01", "to_date": "2017-06-30"}'

    Both dates are inclusive landing days. Days that are already published are left alone, so a backfill that failed is
    simply run again. Each task walks all its days in order, with the model loaded once.
    """
    settings = load_settings(config)
    params = {
        "from_date": Param(type="string", format="date", description="First landing day."),
        "to_date": Param(type="string", format="date", description="Last landing day, inclusive."),
        "num_groups": NUM_GROUPS,
        "verify_users": VERIFY_USERS,
    }
    with _dag(backfill.__doc__, config, dag_id, params=params) as dag:
        days = task.short_circuit(tasks.missing_days)()
        prepare = task(map_index_template=MODALITY, **model_task())(tasks.prepare_days)
        prepared = prepare.partial(days=days).expand(modality=[m.name for m in settings.modalities])
        groups = task(tasks.bucket_groups_of_days)(days)
        refreshed = task(**model_task())(tasks.refresh_days).partial(days=days).expand(buckets=groups)
        publish = task(outlets=feature_view_assets(settings, namespace))(tasks.publish_days)(days)
        verify = task(**model_task())(tasks.verify_days)(days)

        prepared >> groups
        refreshed >> publish >> verify

    return dag


def maintain_state(config: str | None = None, dag_id: str = "maintain_state") -> DAG:
    """Once a week: is the daily job well, is the state right, and merge what has piled up.

        airflow dags trigger maintain_state

    An exceeded threshold or a difference fails its task and the run; nothing is merged in a state that differs from its
    rebuild. `daily_update` may run at the same time.
    """
    settings = load_settings(config)
    users = Param(200, type="integer", minimum=1, description="Users to check against a rebuild.")
    with _dag(
        maintain_state.__doc__,
        config,
        dag_id,
        CronTriggerTimetable("0 12 * * 0", timezone=settings.timezone),
        params={"verify_users": users},
        start_date=start_date(settings.timezone),
    ) as dag:
        check = task(maintenance.check_alerts)()
        verify = task(**model_task())(maintenance.verify)()
        maintain = task(maintenance.maintain)()
        # A teardown runs whatever failed before it. A last task that did the same would make the failed run a success,
        # and so does a teardown with `on_failure_fail_dagrun`.
        metrics = task(maintenance.write_metrics)().as_teardown()

        verify >> maintain
        [check, maintain] >> metrics

    return dag


def train_model(config: str | None = None, dag_id: str = "train_model") -> DAG:
    """A new model: data, pre-training, a soft prompt for every scenario, evaluation, promotion if it is better.

        airflow dags trigger train_model

    Two gates decide: a model that is not better than its controls, or whose tuned prompts are worse than none, fails
    the task `check_gate`, and one that forgets what a trained live model keeps of its users fails `check_fidelity`;
    neither is promoted. `daily_update` may run at the same time; promotion takes effect between two windows.
    """
    with _dag(train_model.__doc__, config, dag_id) as dag:
        data = task(training.build_data)()
        model = task(**model_task())(training.pretrain)()
        scenarios = task(training.tunable_scenarios)()
        prompts = task(**model_task())(training.tune).partial(model=model).expand(scenario=scenarios)
        tuned = task(training.join_prompts)(model)
        report = task(**model_task())(training.evaluate)(tuned)
        gate = task(training.check_gate)(report)
        kept = task(**model_task())(training.fidelity)(tuned)
        remembers = task(training.check_fidelity)(kept)
        promoted = task(**model_task())(training.promote)(tuned)

        data >> model
        prompts >> tuned
        [gate, remembers] >> promoted

    return dag


def fidelity(config: str | None = None, dag_id: str = "fidelity", namespace: str = NAMESPACE) -> DAG:
    """What can be read back from each day's embeddings, and whether the day's update equals a rebuild.

        airflow dags trigger fidelity --conf '{"ds": "2017-06-30"}'

    Runs after `daily_update` has brought a day online, on a sample of users that is the same every day. An update that
    is not equal to a rebuild, or that moved what it should have left alone, fails the task `check`; the day stays as
    it is. What users do next is asked on a day and scored seven days later, by the task `score_actions`.
    """
    users = Param(2000, type="integer", minimum=1, description="Users who are asked, chosen by hash.")
    with _after_a_day(fidelity.__doc__, config, dag_id, namespace, users=users) as dag:
        measured = task(**model_task())(fidelity_tasks.measure)()
        task(fidelity_tasks.check)(measured)
        # Not two of them at a time, and what an earlier day's users did next is told even if this day is wrong.
        measured >> task(**model_task())(fidelity_tasks.score_actions)()

    return dag


def profiles(config: str | None = None, dag_id: str = "profiles", namespace: str = NAMESPACE) -> DAG:
    """The texts that a language model keeps of the users who changed on a day.

        airflow dags trigger profiles --conf '{"ds": "2017-06-30"}'

    Runs after `daily_update` has brought a day online, and is a DAG of its own so that an endpoint that is slow or away
    fails nothing but itself. Skipped where `[profile.language_model]` is not switched on.
    """
    with _after_a_day(profiles.__doc__, config, dag_id, namespace) as dag:
        task(**model_task())(profile_tasks.update)()

    return dag


def train_profiles(config: str | None = None, dag_id: str = "train_profiles") -> DAG:
    """A language model that keeps users' texts, trained on the lake's past.

        airflow dags trigger train_profiles

    Returns the model's directory. Nothing is switched over: it writes texts once `[profile.language_model]` names it.
    `daily_update` and `profiles` may run at the same time.
    """
    with _dag(train_profiles.__doc__, config, dag_id) as dag:
        task(**model_task())(profile_tasks.train)()

    return dag
