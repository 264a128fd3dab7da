"""Feast's configuration from the settings: everything resolved, no secret on disk."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, SettingsFactory
from updater.errors import ConfigError
from updater.store.repository.config import feature_store_config, write_feature_store_yaml

POSTGRES = {"type": "postgres", "host": "db", "port": 5432, "database": "feast", "user": "me"}


def written(settings: Any, monkeypatch: pytest.MonkeyPatch, **environ: str) -> tuple[str, dict[str, Any]]:
    """The file's text, and what Feast reads from it."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    text = Path(write_feature_store_yaml(settings)).read_text(encoding="utf-8")
    return text, yaml.safe_load(os.path.expandvars(text))


def test_embedded_stores_have_absolute_paths(
    make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = make_settings()
    _, document = written(settings, monkeypatch)
    assert document == feature_store_config(settings, {})
    assert document["registry"]["path"] == f"sqlite:///{tmp_path}/state/registry.db"
    assert document["online_store"]["path"] == f"{tmp_path}/state/online.db"
    assert write_feature_store_yaml(settings) == f"{tmp_path}/state/feature_store.yaml"
    assert [file.name for file in (tmp_path / "state").iterdir()] == ["feature_store.yaml"]


@pytest.mark.parametrize("password", ["plain", "123", "a: b #c", 'say "no"', "$1,{}[]&*"])
def test_secrets_become_references_that_feast_resolves(
    password: str, make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql+psycopg://me:hunter2@db/feast"
    settings = make_settings(online_store={**POSTGRES, "password": password}, registry={"url": url})
    text, document = written(settings, monkeypatch, UPDATER_REGISTRY__URL=url, UPDATER_ONLINE_STORE__PASSWORD=password)
    assert document == feature_store_config(settings, {})
    assert "password: '${UPDATER_ONLINE_STORE__PASSWORD}'" in text
    assert "path: '${UPDATER_REGISTRY__URL}'" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ("redis:6379,db=0", "redis:6379,db=0"),
        ("redis:6379,db=0,password=hunter2", "${UPDATER_ONLINE_STORE__CONNECTION_STRING}"),
        ("redis:6379,db=0,password=${REDIS_PASSWORD}", "redis:6379,db=0,password=${REDIS_PASSWORD}"),
        ("${REDIS}", "${REDIS}"),
    ],
)
def test_redis_connection_strings(connection: str, expected: str, make_settings: SettingsFactory) -> None:
    settings = make_settings(online_store={"type": "redis", "connection_string": connection})
    text = Path(write_feature_store_yaml(settings)).read_text(encoding="utf-8")
    assert yaml.safe_load(text)["online_store"]["connection_string"] == expected
    environ = {"REDIS_PASSWORD": "hunter3", "REDIS": "redis:1"}
    resolved = feature_store_config(settings, environ)["online_store"]["connection_string"]
    assert resolved == connection.replace("${REDIS_PASSWORD}", "hunter3").replace("${REDIS}", "redis:1")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql+psycopg://me@db/feast", True),
        ("postgresql+psycopg://me:${PW}@db/feast", True),
        ("${REGISTRY}", True),
        ("postgresql+psycopg://me:hunter2@db/feast", False),
        ("postgresql+psycopg://db/feast?user=me&password=hunter2", False),
    ],
)
def test_registry_urls(url: str, kept: bool, make_settings: SettingsFactory) -> None:
    text = Path(write_feature_store_yaml(make_settings(registry={"url": url}))).read_text(encoding="utf-8")
    assert yaml.safe_load(text)["registry"]["path"] == (url if kept else "${UPDATER_REGISTRY__URL}")


def test_mistakes_are_named(make_settings: SettingsFactory) -> None:
    from updater.store import open_store

    with pytest.raises(ConfigError, match=r"\$\{NOWHERE\}"):
        feature_store_config(make_settings(registry={"url": "${NOWHERE}"}), {})
    with pytest.raises(ConfigError, match=r"registry\.url"):
        write_feature_store_yaml(make_settings(registry={"url": "no url"}))
    with pytest.raises(ConfigError, match="pasword"):
        open_store(make_settings(online_store={**POSTGRES, "pasword": "hunter2"}))
    long = [{"name": "x" * 51, "domain": "risk", "query": "Why?"}]
    with pytest.raises(ConfigError, match="at most 50"):
        feature_store_config(make_settings(online_store={**POSTGRES, "password": ""}, scenarios=long), {})


def test_the_committed_file_says_the_same_as_ours(make_settings: SettingsFactory) -> None:
    committed = yaml.safe_load((ROOT / "feature_repo" / "feature_store.yaml").read_text(encoding="utf-8"))
    settings = make_settings()
    ours = feature_store_config(settings, {})
    del ours["registry"]["sqlalchemy_config_kwargs"], ours["registry"]["path"], ours["online_store"]["path"]
    assert committed["registry"].pop("path") == "sqlite:///demo/state/registry.db"
    assert committed["online_store"].pop("path") == "../demo/state/online.db"
    whose = committed["batch_engine"]
    assert (whose.pop("config_file"), whose.pop("state")) == ("../configs/demo.toml", "../demo/state")
    assert (ours["batch_engine"].pop("config_file"), ours["batch_engine"].pop("state")) == (
        str(settings.source),
        settings.paths.state,
    )
    assert committed == ours
