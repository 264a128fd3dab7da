"""The task that has a language model keep users' texts. XCom carries counts only."""

from dataclasses import asdict
from datetime import date
from typing import Any

from updater.airflow.config import config_file
from updater.settings import load_settings


def update(**context: Any) -> dict[str, Any]:
    """Update the texts of the day that the run's `ds` names, else of the one of its partition.

    Skipped where `[profile.language_model]` is not switched on, and for a day that a later one has overtaken: each text
    follows from the one before.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from updater.pipeline.profile_llm.run import update_profiles
    from updater.runtime.deployment import open_writable

    settings = load_settings(config_file(context))
    if not settings.profile.language_model.enabled:
        raise AirflowSkipException("profile.language_model.enabled is false.")
    named = context["params"]["ds"] or context.get("partition_key")
    report = update_profiles(open_writable(settings), date.fromisoformat(named) if named else None)
    if report.overtaken_by:
        raise AirflowSkipException(f"{report.overtaken_by} has texts already.")
    return asdict(report)
