"""Which roles may read what through Feast's servers. What no permission names, they refuse to everybody.

Whoever opens the stores with Feast's library reads past all of this: keep files and databases to the servers' account.
"""

from data_sources import settings
from feast import Entity, FeatureService, FeatureView, Project
from feast.permissions.action import READ, AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy

from updater.domain import columns
from updater.settings import Settings

READING = [AuthzedAction.DESCRIBE, *READ]


def all_permissions(settings: Settings) -> dict[str, Permission]:
    """Every permission by name: of each domain its services and views, in all model versions; for all readers the rest.

    Empty without `[[permissions]]`.
    """
    made = []
    for declared in settings.permissions:
        policy = RoleBasedPolicy(list(declared.roles))
        scenarios = [scenario.name for scenario in settings.scenarios if scenario.domain == declared.domain]
        for what, kind, names in (("services", FeatureService, [declared.domain]), ("views", FeatureView, scenarios)):
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


# Feast registers what it finds among a module's globals.
globals().update(all_permissions(settings))
