"""The tasks that have a language model keep users' texts, or train one to. XCom carries counts and paths only."""

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


def train(params: dict[str, Any]) -> str | None:
    """Train a language model that keeps texts; tried again, it goes on. Returns its directory."""
    from updater.pipeline.init import create_ledger
    from updater.runtime.deployment import open_writable
    from updater.training.profile.run import train_updater

    settings = load_settings(params["config"])
    create_ledger(settings)
    return train_updater(open_writable(settings)).model
