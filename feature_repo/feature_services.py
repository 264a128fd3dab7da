"""One feature service per domain and model version: the door through which a downstream model reads."""

from collections.abc import Iterable

from data_sources import model_versions, settings
from feast import FeatureService
from feature_views import all_views, version_tag

from updater.domain import columns
from updater.settings import Settings


def all_services(settings: Settings, versions: Iterable[int]) -> dict[str, FeatureService]:
    """Every feature service by name, e.g. `risk_v1`: the views of the domain's scenarios and `modality_summaries`."""
    versions = tuple(versions)
    views = all_views(settings, versions)
    services = {}
    for version in versions:
        for domain in dict.fromkeys(scenario.domain for scenario in settings.scenarios):
            names = [columns.scenario_view(s.name, version) for s in settings.scenarios if s.domain == domain]
            services[columns.domain_service(domain, version)] = FeatureService(
                name=columns.domain_service(domain, version),
                features=[views[name] for name in [*names, columns.SUMMARIES_VIEW]],
                description=f"User embeddings for {domain}.",
                tags=version_tag(version),
            )
    return services


# Feast registers what it finds among a module's globals.
globals().update(all_services(settings, model_versions(settings)))
