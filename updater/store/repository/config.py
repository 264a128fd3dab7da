"""Feast's configuration, made from the settings.

Two forms exist. In a process the values themselves are used (`feature_store_config`). On disk lies
`<state>/feature_store.yaml`, for Feast's command line and readers that know nothing of `updater`. It holds no secret:

- a registry URL with a password becomes `${UPDATER_REGISTRY__URL}`;
- an option of `[online_store]` or `[auth]` whose name says password, secret or token, and a Redis connection string
  with a password, becomes `${UPDATER_ONLINE_STORE__<OPTION>}` or `${UPDATER_AUTH__<OPTION>}`. All are the variables
  that override these settings: they are set already where the value came from the environment, and have to be set for
  Feast where it is written in the config;
- a value that is written as `${VARIABLE}` in the config stays as it is.

Feast replaces such references when it reads the file, before it parses it. They are quoted with single quotes, so a
secret may hold any character but that one.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from updater.errors import ConfigError
from updater.locations import filesystem, is_s3
from updater.settings import OnlineStore, Settings
from updater.state.layout import StateLayout

PROJECT = "updater"
ROWS_PER_WRITE = 10_000
REGISTRY_CACHE_SECONDS = 300
LONGEST_POSTGRES_SCENARIO = 50
"""PostgreSQL cuts a table's name at 63 bytes; Feast adds the project and the model version."""

_STORES = {
    "sqlite": "updater.store.online_sqlite.GuardedSqliteOnlineStore",
    "redis": "updater.store.online_redis.GuardedRedisOnlineStore",
    "postgres": "updater.store.online_postgres.GuardedPostgreSQLOnlineStore",
}
_OFFLINE_IN_BUCKET = "updater.store.offline_bucket.BucketOfflineStore"
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_SECRET_NAME = re.compile(r"password|secret|token")
_HEADER = "# Written by updater for Feast's command line and other readers; `updater init` rewrites it.\n"


def feature_store_config(settings: Settings, environ: Mapping[str, str]) -> dict[str, Any]:
    """Feast's configuration with `${VARIABLE}` references replaced. Raises ConfigError if a variable is not set."""
    if settings.online_store.type == "postgres":
        for scenario in settings.scenarios:
            if len(scenario.name) > LONGEST_POSTGRES_SCENARIO:
                raise ConfigError(
                    f"scenario name {scenario.name!r} is too long for a PostgreSQL table; "
                    f"use at most {LONGEST_POSTGRES_SCENARIO} characters."
                )
    return {key: _resolve(value, environ) for key, value in _document(settings).items()}


def write_feature_store_yaml(settings: Settings) -> str:
    """Write `<state>/feature_store.yaml`, without secrets, and the same into a feature repository that has none.

    Returns the path of the state's.
    """
    text = _HEADER + yaml.dump(_without_secrets(_document(settings)), Dumper=_Dumper, sort_keys=False)
    path = StateLayout(settings.paths.state).feature_store()
    if "://" in path:
        fs, inner = filesystem(path)
        fs.pipe_file(inner, text.encode())
    else:
        _write(Path(path), text)
    beside = Path(settings.paths.feature_repo, "feature_store.yaml")
    # So that `feast -c feature_repo` alone finds the state; a file of the user's own stays.
    if not beside.exists() or beside.read_text(encoding="utf-8").startswith(_HEADER):
        _write(beside, text)
    return path


def _write(path: Path, text: str) -> None:
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _document(settings: Settings) -> dict[str, Any]:
    auth = settings.auth
    return {
        "project": PROJECT,
        "provider": "local",
        "registry": {
            "registry_type": "sql",
            "path": settings.registry.url,
            "cache_ttl_seconds": REGISTRY_CACHE_SECONDS,
            "serve_features_while_materializing": True,
            "sqlalchemy_config_kwargs": {"pool_pre_ping": True, **_driver_arguments(settings.registry.url)},
        },
        "offline_store": {"type": _OFFLINE_IN_BUCKET if is_s3(settings.paths.state) else "duckdb"},
        "online_store": _online_store(settings.online_store),
        # Whose file this is: see updater.store.repository.deployment.
        "batch_engine": {
            "type": "updater.store.engine.WireBatchEngine",
            "config_file": str(settings.source),
            "state": settings.paths.state,
        },
        "materialization": {"pull_latest_features": True, "online_write_batch_size": ROWS_PER_WRITE},
        "entity_key_serialization_version": 3,
        **({"auth": {"type": auth.type, **auth.options}} if auth.type != "no_auth" else {}),
    }


def _online_store(online: OnlineStore) -> dict[str, Any]:
    # A store of floats has the options of Feast's own, which takes no others.
    rounding = {} if online.embeddings == "float32" else {"embeddings": online.embeddings}
    return {"type": _STORES[online.type], **rounding, **online.options}


def _driver_arguments(url: str) -> dict[str, Any]:
    # Whatever PGCLIENTENCODING says; with SQL_ASCII the driver would give bytes for text.
    return {"connect_args": {"client_encoding": "utf8"}} if url.startswith("postgresql") else {}


def _without_secrets(document: dict[str, Any]) -> dict[str, Any]:
    registry = dict(document["registry"])
    if _url_has_password(registry["path"]):
        registry["path"] = "${UPDATER_REGISTRY__URL}"
    shown = {**document, "registry": registry}
    for section in ("online_store", "auth"):
        for name, value in document.get(section, {}).items():
            if isinstance(value, str) and _is_secret(name, value):
                shown[section] = {**shown[section], name: f"${{UPDATER_{section.upper()}__{name.upper()}}}"}
    return shown


def _is_secret(name: str, value: str) -> bool:
    literal = _REFERENCE.sub("", value)
    return bool(literal and _SECRET_NAME.search(name)) or bool(re.search(r"password=[^,]", literal))


def _url_has_password(url: str) -> bool:
    if _REFERENCE.fullmatch(url):
        return False
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("registry.url is not a SQLAlchemy URL; use sqlite:///… or postgresql+psycopg://….") from None
    passwords = (parsed.password, parsed.query.get("password"))
    return any(password and not _REFERENCE.fullmatch(str(password)) for password in passwords)


def _resolve(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _resolve(item, environ) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    if missing := [name for name in _REFERENCE.findall(value) if name not in environ]:
        raise ConfigError(f"the config refers to ${{{missing[0]}}}, which is not set; set that environment variable.")
    return _REFERENCE.sub(lambda match: environ[match[1]], value)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes references: what replaces them need not be a plain YAML word."""


def _represent_str(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if _REFERENCE.search(value) else None)


_Dumper.add_representer(str, _represent_str)
