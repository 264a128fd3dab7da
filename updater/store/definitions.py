"""Registering what the feature repository defines."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView
from feast.repo_operations import get_repo_files

from updater.errors import ConfigError
from updater.settings import Settings
from updater.store.config import write_feature_store_yaml
from updater.store.connecting import explained, open_store


def apply(settings: Settings) -> None:
    """Write `<state>/feature_store.yaml`, register the feature repository and create the online store's tables.

    Running it again changes nothing. A view that is no longer defined stays registered with its online rows, because
    readers may still ask for it; `feast delete NAME` removes it when nobody does.

    Raises:
        ConfigError: the feature repository or the config is wrong.
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    write_feature_store_yaml(settings)
    store = open_store(settings)
    with explained(store.config):
        store.apply(defined_objects(settings))


def defined_objects(settings: Settings) -> list[Any]:
    """Entities, feature views and feature services that the feature repository defines for a config."""
    repo = Path(settings.paths.feature_repo)
    files = get_repo_files(repo)
    if not files:
        raise ConfigError(
            f"feature repository {repo} has no Python files; set paths.feature_repo of {settings.source}."
        )
    with _importable(repo, [file.stem for file in files], settings):
        modules = [importlib.import_module(file.stem) for file in files]
    found = (value for module in modules for value in vars(module).values())
    objects = {id(value): value for value in found if isinstance(value, Entity | FeatureView | FeatureService)}
    return list(objects.values())


@contextmanager
def _importable(repo: Path, names: list[str], settings: Settings) -> Iterator[None]:
    """Import the repository's modules afresh, for this config: Feast's layout makes them top-level modules."""
    shadowed = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    environment = os.environ.get("UPDATER_CONFIG")
    sys.path.insert(0, str(repo))
    os.environ["UPDATER_CONFIG"] = str(settings.source)
    try:
        yield
    finally:
        sys.path.remove(str(repo))
        if environment is None:
            del os.environ["UPDATER_CONFIG"]
        else:
            os.environ["UPDATER_CONFIG"] = environment
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(shadowed)
