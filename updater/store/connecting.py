"""Opening the feature store, and saying in one sentence what is wrong when it or a server behind it cannot be used."""

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from feast import FeatureStore, RepoConfig
from feast.errors import FeastExtrasDependencyImportError, FeastObjectNotFoundException
from pydantic import ValidationError
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from updater.errors import ConfigError, ServiceUnavailableError
from updater.settings import Settings
from updater.store.config import feature_store_config

# Drivers are optional; what is not imported cannot have raised an error.
_OPTIONAL_ERRORS = (
    ("redis.exceptions", "ConnectionError"),
    ("redis.exceptions", "TimeoutError"),
    ("psycopg", "OperationalError"),
)


def open_store(settings: Settings) -> FeatureStore:
    """The feature store of a config, with its registry loaded.

    Raises:
        ConfigError: an option of the online store is wrong, or refers to an environment variable that is not set.
        ServiceUnavailableError: the registry does not answer.
    """
    if "://" not in settings.paths.state:
        Path(settings.paths.state).mkdir(parents=True, exist_ok=True)
    try:
        config = RepoConfig(**feature_store_config(settings, os.environ))
        _ = config.auth_config  # Feast itself checks [auth] only when a server starts
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        section = "auth" if error.title.endswith("AuthConfig") else "online_store"
        raise ConfigError(f"[{section}] of {settings.source} is not valid: {problems}.") from None
    except FeastExtrasDependencyImportError:
        kind = settings.online_store.type
        raise ConfigError(f"online store {kind!r} needs a driver; run `pip install 'updater[{kind}]'`.") from None
    config.repo_path = Path(settings.paths.feature_repo)
    store = FeatureStore(repo_path=settings.paths.feature_repo, config=config)
    with explained(config):
        store.refresh_registry()
    return store


@contextmanager
def explained(config: RepoConfig) -> Iterator[None]:
    """Turn what drivers and Feast raise into this project's errors.

    Raises:
        ServiceUnavailableError: the registry or the online store does not answer.
        ConfigError: a feature view or feature service is not registered, or has no offline rows at all.
    """
    try:
        yield
    except FeastObjectNotFoundException as error:
        raise ConfigError(f"{error}; register it with `updater init`.") from error
    except duckdb.IOException as error:
        if not (missing := re.search(r'No files found that match the pattern "([^"]+)"', str(error))):
            raise
        raise ConfigError(f"There are no offline rows in {missing[1]}; publish a day with `updater run`.") from error
    except Exception as error:
        if not isinstance(error, _connection_errors()):
            raise
        reason = str(error.orig if isinstance(error, DBAPIError) else error).strip().splitlines()[0]
        registry = make_url(config.registry.path).render_as_string(hide_password=True)
        raise ServiceUnavailableError(
            f"The registry {registry} or the online store {_address(config.online_store)} failed: {reason}; "
            "check that both run and that `updater init` has been run."
        ) from error


def _connection_errors() -> tuple[type[Exception], ...]:
    loaded = [getattr(sys.modules[module], name) for module, name in _OPTIONAL_ERRORS if module in sys.modules]
    return (DBAPIError, sqlite3.OperationalError, ConnectionError, *loaded)


def _address(online: Any) -> str:
    if hasattr(online, "connection_string"):
        return ",".join(part for part in online.connection_string.split(",") if not part.startswith("password="))
    return f"{online.host}:{online.port}/{online.database}" if hasattr(online, "host") else str(online.path)
