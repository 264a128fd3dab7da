"""What Feast knows of a deployment: the entity, feature views, feature services and permissions of a config.

A scenario has a view of its own because Feast cannot write a part of a view's columns. No view has a time to live: a
user's row is written when it changes, so an old row is still the truth. A feature service is the door through which a
downstream model reads: the views of a domain's scenarios, and `modality_summaries`.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, Project, ValueType
from feast.data_format import ParquetFormat
from feast.permissions.action import READ, AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from feast.types import Array, Float32, Float64, Int64, String

from updater.domain import columns
from updater.domain.declared.profile import RULES
from updater.domain.declared.scenario import Scenario
from updater.lake import partitions
from updater.settings import Settings
from updater.state.layout import MODEL_MARK, StateLayout
from updater.store.repository.deployment import repository_settings

LAYOUT = {"layout": "daily"}
"""A tag for the batch engine: a row of partition `ds` has the end of that day as its event_timestamp."""
READING = [AuthzedAction.DESCRIBE, *READ]
USER = Entity(
    name=columns.ENTITY,
    join_keys=[columns.JOIN_KEY],
    value_type=ValueType.STRING,
    description="A user of the event lake.",
)


def feature_objects(config: Path) -> dict[str, Any]:
    """Everything that Feast registers: what a module of a feature repository puts among its globals.

    Keys are prefixed with the kind, because a view and a service may share a name.

    Args:
        config: the config of a repository that is imported by hand; see `repository_settings`.

    Raises:
        ConfigError: the config is wrong.
    """
    settings = repository_settings(config)
    versions = model_versions(settings)
    kinds: dict[str, Mapping[str, Any]] = {
        "entity": {USER.name: USER},
        "view": feature_views(settings, versions),
        "service": feature_services(settings, versions),
        "permission": permissions(settings),
    }
    return {f"{kind}_{name}": made for kind, objects in kinds.items() for name, made in objects.items()}


def model_versions(settings: Settings) -> tuple[int, ...]:
    """Versions whose models lie in the state, which are served side by side; 1 before there is any."""
    names = partitions.list_tree(StateLayout(settings.paths.state).models(), MODEL_MARK)
    return tuple(sorted(int(name[1:]) for name in names if re.fullmatch(r"v[1-9]\d*", name))) or (1,)


def feature_views(settings: Settings, versions: Iterable[int]) -> dict[str, FeatureView]:
    """Every feature view by name: one per scenario and model version, `modality_summaries`, and the profiles'."""
    views = [_scenario_view(scenario, version, settings) for version in versions for scenario in settings.scenarios]
    profile = [_profile_view(settings)] if settings.profile.enabled else []
    written = [_written_profile_view(settings)] if settings.profile.language_model.enabled else []
    return {view.name: view for view in [*views, _summaries_view(settings), *profile, *written]}


def feature_services(settings: Settings, versions: Iterable[int]) -> dict[str, FeatureService]:
    """Every feature service by name, such as `risk_v1`: one per domain and model version, and the profiles'."""
    versions = tuple(versions)
    views = feature_views(settings, versions)
    profile = [columns.PROFILE_VIEW] if settings.profile.enabled else []
    beside = [columns.SUMMARIES_VIEW, *(profile if settings.profile.in_domains else [])]
    services = {}
    for version in versions:
        for domain in dict.fromkeys(scenario.domain for scenario in settings.scenarios):
            names = [columns.scenario_view(s.name, version) for s in settings.scenarios if s.domain == domain]
            services[columns.domain_service(domain, version)] = FeatureService(
                name=columns.domain_service(domain, version),
                features=[views[name] for name in [*names, *beside]],
                description=f"User embeddings for {domain}.",
                tags=_version_tag(version),
            )
    for view in profile:
        services[columns.PROFILE_SERVICE] = FeatureService(
            name=columns.PROFILE_SERVICE, features=[views[view]], description="User profiles as text."
        )
    if settings.profile.language_model.enabled:
        services[columns.PROFILE_LLM_SERVICE] = FeatureService(
            name=columns.PROFILE_LLM_SERVICE,
            features=[views[columns.PROFILE_LLM_VIEW]],
            description="User profiles as text, kept by a language model.",
        )
    return services


def permissions(settings: Settings) -> dict[str, Permission]:
    """Which roles may read what through Feast's servers, which refuse to everybody what no permission names.

    Of each domain its services and views, in all model versions; for all readers the rest. The textual profile is a
    domain of its own, a language model's texts included; where the domains' services have the rules' one, their
    readers may read that. Empty without `[[permissions]]`.
    Whoever opens the stores with Feast's library reads past all of this: keep files and databases to the servers'
    account.
    """
    made = []
    for declared in settings.permissions:
        policy = RoleBasedPolicy(list(declared.roles))
        scenarios = [scenario.name for scenario in settings.scenarios if scenario.domain == declared.domain]
        if settings.profile.enabled and (declared.domain == columns.PROFILE_DOMAIN or settings.profile.in_domains):
            scenarios.append(columns.PROFILE)
        services = [declared.domain]
        if settings.profile.language_model.enabled and declared.domain == columns.PROFILE_DOMAIN:
            scenarios.append(columns.PROFILE_LLM)
            services.append(columns.PROFILE_LLM_DOMAIN)
        for what, kind, names in (("services", FeatureService, services), ("views", FeatureView, scenarios)):
            patterns = [rf"{name}_v\d+" for name in names]
            name = f"read_{declared.domain}_{what}"
            made.append(Permission(name=name, types=[kind], name_patterns=patterns, actions=READING, policy=policy))
    if everyone := sorted({role for declared in settings.permissions for role in declared.roles}):
        policy = RoleBasedPolicy(everyone)
        made += [
            Permission(
                name="read_summaries",
                types=[FeatureView],
                name_patterns=[columns.SUMMARIES_VIEW],
                actions=READING,
                policy=policy,
            ),
            Permission(name="describe", types=[Entity, Project], actions=[AuthzedAction.DESCRIBE], policy=policy),
        ]
    return {permission.name: permission for permission in made}


def _scenario_view(scenario: Scenario, version: int, settings: Settings) -> FeatureView:
    """The embedding of one scenario by one model version."""
    fields = {
        columns.embedding(scenario.name): Array(Float32),
        columns.as_of(scenario.name): Int64,
        columns.computed_at(scenario.name): Int64,
        columns.model_version(scenario.name): String,
    }
    return _view(columns.scenario_view(scenario.name, version), fields, scenario.query, settings, _version_tag(version))


def _summaries_view(settings: Settings) -> FeatureView:
    """How many events each modality holds and when the newest happened."""
    fields = {}
    for modality in settings.modalities:
        fields[columns.num_events(modality.name)] = Int64
        fields[columns.last_event_at(modality.name)] = Int64
    fields[columns.PREFIX_FINGERPRINT] = String
    return _view(columns.SUMMARIES_VIEW, fields, "What the user prefix was made of.", settings, {})


def _profile_view(settings: Settings) -> FeatureView:
    """What is known of the user as text. It depends on no model."""
    fields = {
        columns.PROFILE_TEXT: String,
        columns.PROFILE_DIGEST: String,
        columns.PROFILE_UPDATER: String,
        columns.PROFILE_TOKENS: Int64,
        columns.PROFILE_MODALITIES: Array(String),
        columns.PROFILE_NEWEST_EVENT_AT: Int64,
        columns.PROFILE_FORESIGHT: Float64,
        columns.PROFILE_FORESIGHT_QUESTIONS: Int64,
        columns.PROFILE_AS_OF: Int64,
    }
    description = "What is known of the user, as text for a language model."
    return _view(columns.PROFILE_VIEW, fields, description, settings, {"updater": RULES})


def _written_profile_view(settings: Settings) -> FeatureView:
    """The texts that a language model keeps, which depend on the texts before."""
    fields = {
        columns.LLM_TEXT: String,
        columns.LLM_DIGEST: String,
        columns.LLM_UPDATER: String,
        columns.LLM_TOKENS: Int64,
        columns.LLM_MODALITIES: Array(String),
        columns.LLM_FACETS: Array(String),
        columns.LLM_PARENT: String,
        columns.LLM_PROMPT: String,
        columns.LLM_AS_OF: Int64,
    }
    description = "What a language model made of the text before and of what was new."
    return _view(columns.PROFILE_LLM_VIEW, fields, description, settings, {"updater": "llm"})


def _version_tag(version: int) -> dict[str, str]:
    """Tag of what belongs to one model version: `updater` registers and removes it by this."""
    return {"model_version": str(version)}


def _view(
    name: str, fields: Mapping[str, Any], description: str, settings: Settings, tags: Mapping[str, str]
) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[USER],
        ttl=timedelta(0),
        schema=[Field(name=columns.JOIN_KEY, dtype=String), *(Field(name=f, dtype=t) for f, t in fields.items())],
        source=_offline_source(name, settings),
        description=description,
        tags={**LAYOUT, **tags},
    )


def _offline_source(view: str, settings: Settings) -> FileSource:
    """Parquet files `<state>/offline/<view>/ds=YYYY-MM-DD/*.parquet` with naive UTC timestamps."""
    return FileSource(
        name=f"{view}_offline",
        path=StateLayout(settings.paths.state).offline(view),
        file_format=ParquetFormat(),
        timestamp_field=columns.EVENT_TIMESTAMP,
        created_timestamp_column=columns.CREATED_TIMESTAMP,
    )
