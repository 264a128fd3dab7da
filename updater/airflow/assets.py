"""One Airflow asset per feature view; each processed day is an event with the landing day as partition key."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Asset

from updater.domain.columns import PROFILE, SUMMARIES_VIEW
from updater.settings import Settings

NAMESPACE = "updater"
"""First part of the assets' names, where one Airflow has one deployment."""


def feature_view_assets(settings: Settings, namespace: str = NAMESPACE) -> list[Asset]:
    """Assets `<namespace>/<scenario>`, `<namespace>/modality_summaries` and, if enabled, `…/user_text_profile`.

    They carry no model version, so what is scheduled on them survives a new model; the events name the versioned views.
    """
    profile = [PROFILE] if settings.profile.enabled else []
    names = [*(scenario.name for scenario in settings.scenarios), SUMMARIES_VIEW, *profile]
    return [Asset(name=f"{namespace}/{name}", group="updater") for name in names]


def summaries_asset(namespace: str = NAMESPACE) -> Asset:
    """The one of `feature_view_assets` that every config has: each day that has come online is announced on it."""
    return Asset(name=f"{namespace}/{SUMMARIES_VIEW}", group="updater")


def announce(context: Mapping[str, Any], days: list[str], report: Mapping[str, Any]) -> None:
    """Emit one event per outlet and landing day, with `report` as its extra, if the running task succeeds."""
    for asset in context["task"].outlets:
        outlet = context["outlet_events"][asset]
        outlet.add_partitions(days)
        outlet.extra = dict(report)
