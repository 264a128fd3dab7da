"""The tasks that ask what can be read back from a day's embeddings. XCom carries the path of a report only."""

from datetime import date
from typing import Any

from updater.airflow.config import config_file
from updater.settings import load_settings


def measure(**context: Any) -> str:
    """Measure the day that the run's `ds` names, else the one of its partition. Returns the report's file.

    A day that a later one has overtaken is skipped if nobody names it, so that a backfill is not measured day by day.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from updater.fidelity.run import measure_fidelity
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool

    settings = load_settings(config_file(context))
    deployment = open_writable(settings)
    named, watermark = context["params"]["ds"], deployment.ledger.watermark()
    day = date.fromisoformat(named or context.get("partition_key") or str(watermark))
    if not named and watermark is not None and day < watermark:
        raise AirflowSkipException(f"{watermark} is the newest window; name {day} with `ds` to have it measured.")
    with ProcessPool(settings, deployment.now) as pool:
        return measure_fidelity(deployment, pool, day, users=context["params"]["users"]).report_file


def score_actions(**context: Any) -> list[str]:
    """Score the questions of all measured days whose future has come. Returns the reports' files."""
    from updater.fidelity.actions import due_days
    from updater.fidelity.actions import score_actions as score
    from updater.runtime.deployment import open_writable

    deployment = open_writable(load_settings(config_file(context)))
    found = [score(deployment, ds) for ds in due_days(deployment)]
    return [one.report_file for one in found if one is not None]


def check(report: str) -> None:
    """Raise VerificationError if the report says that the day's update is wrong."""
    from updater.fidelity.gate import raise_if_wrong

    raise_if_wrong(report)
