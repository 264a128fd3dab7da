"""Registering what the feature repository defines."""

import importlib
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from feast import Entity, FeatureService, FeatureView
from feast.permissions.permission import Permission
from feast.repo_operations import get_repo_files

from updater.errors import ConfigError
from updater.settings import Settings
from updater.store.online.write_ordering import GuardedOnlineStore
from updater.store.repository.config import write_feature_store_yaml
from updater.store.repository.connecting import explained, open_store
from updater.store.repository.deployment import defining, prepare_sources
from updater.store.repository.registry import forget_versions

VERSION_TAG = "model_version"
"""Tag of views and services that belong to one model version."""
_IMPORTING = RLock()


def check(settings: Settings) -> None:
    """Make sure that registry and online store can be opened.

    Raises:
        ConfigError: the config is wrong, or a database is not in UTF-8.
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    store = open_store(settings)
    online = store.provider.online_store
    if isinstance(online, GuardedOnlineStore):
        with explained(store.config):
            online.find_entities(store.config, [])


def apply(settings: Settings, versions: Collection[int] | None = None) -> list[str]:
    """Write `<state>/feature_store.yaml`, register the feature repository and create the online store's tables.

    Running it again changes nothing. A view that is no longer defined stays registered with its online rows, because
    readers may still ask for it; `feast delete NAME` removes it when nobody does.

    Args:
        settings: the deployment.
        versions: model versions whose views and services are registered; those of others stay as they are. None
            means all that the feature repository defines.

    Returns:
        The feature views that were not registered before.

    Raises:
        ConfigError: the feature repository or the config is wrong.
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    objects = defined_objects(settings, versions)
    write_feature_store_yaml(settings)
    store = open_store(settings)
    with explained(store.config):
        views = [defined for defined in objects if isinstance(defined, FeatureView)]
        prepare_sources(store.config, views)
        known = {view.name for view in store.list_feature_views()}
        forget_versions(store.registry, store.project)
        store.apply(objects)
        # Unlike a view, a permission that is no longer declared must not stay.
        permitted = {defined.name for defined in objects if isinstance(defined, Permission)}
        for stale in store.list_permissions():
            if stale.name not in permitted:
                store.registry.delete_permission(stale.name, store.project)
    return sorted({view.name for view in views} - known)


def remove(settings: Settings, version: int) -> list[str]:
    """Remove a model version's feature services and views, with their online rows. Returns the views' names.

    Raises:
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    store = open_store(settings)
    with explained(store.config):
        views = [view for view in store.list_feature_views() if _version(view) == version]
        services = [service for service in store.list_feature_services() if _version(service) == version]
        names = {view.batch_source.name for view in views}
        sources = [source for source in store.list_data_sources() if source.name in names]
        # Online rows first: what the registry has forgotten, nobody would clear when this is killed and run again.
        store.provider.update_infra(store.project, views, [], [], [], partial=True)
        store.apply([], objects_to_delete=[*services, *views, *sources], partial=False)
    return sorted(view.name for view in views)


def defined_objects(settings: Settings, versions: Collection[int] | None = None) -> list[Any]:
    """Entities, feature views, feature services and permissions that the feature repository defines for a config, of
    some model versions or of all.

    Raises:
        ConfigError: there is no feature repository.
    """
    files = repository_files(settings)
    repo = Path(settings.paths.feature_repo)
    with _importable(repo, [file.stem for file in files], settings):
        modules = [importlib.import_module(file.stem) for file in files]
    found = (value for module in modules for value in vars(module).values())
    kinds = Entity | FeatureView | FeatureService | Permission
    objects = {id(value): value for value in found if isinstance(value, kinds)}
    return [one for one in objects.values() if versions is None or _version(one) in (None, *versions)]


def repository_files(settings: Settings) -> list[Path]:
    """Python files of the feature repository. Raises ConfigError if there are none."""
    repo = Path(settings.paths.feature_repo)
    files = get_repo_files(repo)
    if not files:
        raise ConfigError(
            f"The feature repository {repo} has no Python files; take the one that `updater new` writes, or set "
            f"paths.feature_repo of {settings.source} to yours."
        )
    return list(files)


def _version(defined: Any) -> int | None:
    """The model version of a view or service; None if it belongs to all."""
    version = (defined.tags or {}).get(VERSION_TAG)
    return None if version is None else int(version)


@contextmanager
def _importable(repo: Path, names: list[str], settings: Settings) -> Iterator[None]:
    """Import the repository's modules afresh, for this config: Feast's layout makes them top-level modules.

    One thread at a time, because the search path and the modules belong to the process; both are as before afterwards.
    """
    with _IMPORTING, defining(settings):
        search_path = list(sys.path)
        shadowed = {name: sys.modules.pop(name) for name in names if name in sys.modules}
        sys.path.insert(0, str(repo))
        try:
            yield
        finally:
            sys.path[:] = search_path
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(shadowed)
