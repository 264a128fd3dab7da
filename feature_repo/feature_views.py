"""One feature view per scenario and model version, and one of modality summaries.

A scenario has a view of its own because Feast cannot write a part of a view's columns. No view has a time to live:
a user's row is written when it changes, so an old row is still the truth.
"""

from collections.abc import Iterable
from datetime import timedelta

from data_sources import model_versions, offline_source, settings
from entities import user
from feast import FeatureView, Field
from feast.types import Array, Float32, Int64, String

from updater.domain import columns
from updater.domain.scenario import Scenario
from updater.settings import Settings

LAYOUT = {"layout": "daily"}
"""Tells the batch engine that a row of partition `ds` has the end of that day as its event_timestamp."""


def scenario_view(scenario: Scenario, version: int, settings: Settings) -> FeatureView:
    """The embedding of one scenario by one model version."""
    fields = {
        columns.embedding(scenario.name): Array(Float32),
        columns.as_of(scenario.name): Int64,
        columns.computed_at(scenario.name): Int64,
        columns.model_version(scenario.name): String,
    }
    return _view(columns.scenario_view(scenario.name, version), fields, scenario.query, settings, version_tag(version))


def summaries_view(settings: Settings) -> FeatureView:
    """How many events each modality holds and when the newest happened."""
    fields = {}
    for modality in settings.modalities:
        fields[columns.num_events(modality.name)] = Int64
        fields[columns.last_event_at(modality.name)] = Int64
    fields[columns.PREFIX_FINGERPRINT] = String
    return _view(columns.SUMMARIES_VIEW, fields, "What the user prefix was made of.", settings, {})


def all_views(settings: Settings, versions: Iterable[int]) -> dict[str, FeatureView]:
    """Every feature view by name."""
    views = [scenario_view(scenario, version, settings) for version in versions for scenario in settings.scenarios]
    return {view.name: view for view in [*views, summaries_view(settings)]}


def version_tag(version: int) -> dict[str, str]:
    """Tag of what belongs to one model version: `updater` registers and removes it by this."""
    return {"model_version": str(version)}


def _view(name: str, fields: dict, description: str, settings: Settings, tags: dict[str, str]) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[user],
        ttl=timedelta(0),
        schema=[Field(name=columns.JOIN_KEY, dtype=String), *(Field(name=f, dtype=t) for f, t in fields.items())],
        source=offline_source(name, settings),
        description=description,
        tags={**LAYOUT, **tags},
    )


# Feast registers what it finds among a module's globals.
globals().update(all_views(settings, model_versions(settings)))
