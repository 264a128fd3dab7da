"""Opening the feature store, and saying in one sentence what is wrong when it or a server behind it cannot be used."""

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from feast import FeatureStore, RepoConfig
from feast.errors import FeastExtrasDependencyImportError, FeastObjectNotFoundException
from pydantic import ValidationError
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from updater.database import REGISTRY, create_database_engine, is_missing_table, shown
from updater.errors import ConfigError, ServiceUnavailableError, UpdaterError
from updater.settings import Settings
from updater.store.repository.config import feature_store_config

# Drivers are optional; what is not imported cannot have raised an error.
_OPTIONAL_ERRORS = (
    ("redis.exceptions", "ConnectionError"),
    ("redis.exceptions", "TimeoutError"),
    ("psycopg", "OperationalError"),
    ("psycopg", "InterfaceError"),
    ("psycopg_pool", "PoolTimeout"),
)


def open_store(settings: Settings) -> FeatureStore:
    """The feature store of a config, with its registry loaded.

    Raises:
        ConfigError: an option of the online store is wrong, or refers to an environment variable that is not set; or
            the registry's database is not in UTF-8.
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
    if config.registry.path.startswith("postgresql"):
        _check_registry(config.registry.path)
    config.repo_path = Path(settings.paths.feature_repo)
    store = FeatureStore(repo_path=settings.paths.feature_repo, config=config)
    with explained(config):
        store.refresh_registry()
    return store


@cache
def _check_registry(url: str) -> None:
    """Connect once per process: Feast's own first statement fails with a TypeError in a database in SQL_ASCII."""
    with create_database_engine(url, REGISTRY).connect():
        pass


@contextmanager
def explained(config: RepoConfig) -> Iterator[None]:
    """Turn what drivers and Feast raise into this project's errors.

    Raises:
        ServiceUnavailableError: the registry or the online store does not answer.
        ConfigError: a feature view or feature service is not registered, or has no offline rows or no table at all.
        UpdaterError: a database refused a statement, which is no fault of the connection.
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
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(error, UpdaterError) or not isinstance(error, (DBAPIError, *_driver_errors(), *_CONNECTION)):
            raise
        reason = f"{str(cause).strip()} ".splitlines()[0].strip()
        registry = shown(make_url(config.registry.path))
        stores = f"The registry {registry} or the online store {_address(config.online_store)}"
        if is_missing_table(cause):
            raise ConfigError(f"{stores} is not complete ({reason}); make it with `updater init`.") from error
        if not isinstance(error, (*_CONNECTION, *_optional_errors())):
            raise UpdaterError(
                f"{stores} refused a statement ({type(cause).__name__}: {reason}); both answer, so look at what is in "
                "them, and register the feature views again with `updater init`."
            ) from error
        raise ServiceUnavailableError(
            f"{stores} failed: {reason}; check that both run and that `updater init` has been run."
        ) from error


_CONNECTION = (OperationalError, InterfaceError, PoolTimeout, sqlite3.OperationalError, ConnectionError)


def _optional_errors() -> tuple[type[Exception], ...]:
    return tuple(getattr(sys.modules[module], name) for module, name in _OPTIONAL_ERRORS if module in sys.modules)


def _driver_errors() -> tuple[type[Exception], ...]:
    """Everything that the drivers of the online stores raise."""
    others = (("psycopg", "Error"), ("redis.exceptions", "RedisError"))
    loaded = [getattr(sys.modules[module], name) for module, name in others if module in sys.modules]
    return (sqlite3.Error, *loaded)


def _address(online: Any) -> str:
    if hasattr(online, "connection_string"):
        return ",".join(part for part in online.connection_string.split(",") if not part.startswith("password="))
    return f"{online.host}:{online.port}/{online.database}" if hasattr(online, "host") else str(online.path)
