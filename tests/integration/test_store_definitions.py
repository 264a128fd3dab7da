"""What the feature repository defines, and registering it."""

import logging
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast.errors import FeatureServiceNotFoundException

from tests.conftest import SettingsFactory
from tests.integration.store_helpers import FEATURES, VIEW, vectors, write_lapse
from updater.errors import ConfigError, ServiceUnavailableError


def _registered(store: Any) -> dict[str, dict[str, set[str]]]:
    return {
        "views": {view.name: {feature.name for feature in view.features} for view in store.list_feature_views()},
        "services": {
            service.name: {projection.name for projection in service.feature_view_projections}
            for service in store.list_feature_services()
        },
    }


def test_one_view_per_scenario_and_one_service_per_domain(make_settings: SettingsFactory) -> None:
    from feast.types import Array, Float32

    from updater import store

    scenarios = [
        {"name": name, "domain": domain, "query": f"{name}?"}
        for name, domain in (("lapse", "risk"), ("risk", "risk"), ("takeout", "marketing"))
    ]
    settings = make_settings(scenarios=scenarios)
    store.apply(settings)
    opened = store.open_store(settings)
    registered = _registered(opened)
    assert registered["services"] == {
        "risk_v1": {"lapse_v1", "risk_v1", "modality_summaries"},
        "marketing_v1": {"takeout_v1", "modality_summaries"},
    }
    assert set(registered["views"]) == {"lapse_v1", "risk_v1", "takeout_v1", "modality_summaries"}
    assert registered["views"]["risk_v1"] == {"risk_embedding", "risk_as_of", "risk_computed_at", "risk_model_version"}
    assert registered["views"]["modality_summaries"] == {
        *(f"{m}_{f}" for m in ("bill", "search", "app") for f in ("num_events", "last_event_at")),
        "prefix_fingerprint",
    }
    view = opened.get_feature_view(VIEW)
    assert view.ttl.total_seconds() == 0
    assert view.batch_source.path == f"{settings.paths.state}/offline/{VIEW}"
    assert next(f.dtype for f in view.features if f.name == "lapse_embedding") == Array(Float32)


def test_a_service_is_made_once_until_it_changes(make_settings: SettingsFactory) -> None:
    from updater import store

    scenarios = [{"name": name, "domain": "risk", "query": f"{name}?"} for name in ("lapse", "takeout")]
    store.apply(make_settings(scenarios=scenarios[:1]))
    opened = store.open_store(make_settings(scenarios=scenarios[:1]))
    first = opened.get_feature_service("risk_v1", allow_cache=True)
    assert opened.get_feature_service("risk_v1", allow_cache=True) is first
    assert first == opened.get_feature_service("risk_v1")
    store.apply(make_settings(scenarios=scenarios))
    assert opened.get_feature_service("risk_v1", allow_cache=True) is first
    opened.refresh_registry()
    second = opened.get_feature_service("risk_v1", allow_cache=True)
    assert second == opened.get_feature_service("risk_v1") != first
    with pytest.raises(FeatureServiceNotFoundException):
        opened.get_feature_service("fraud_v1", allow_cache=True)


def test_applying_again_changes_nothing(make_settings: SettingsFactory) -> None:
    from updater import store

    settings = make_settings()

    def registry() -> list[tuple[Any, ...]]:
        with sqlite3.connect(settings.registry.url.removeprefix("sqlite:///")) as connection:
            query = "SELECT feature_view_name, feature_view_proto FROM feature_views ORDER BY 1"
            return connection.execute(query).fetchall()

    environment = dict(sys.modules), list(sys.path)
    store.apply(settings)
    first = registry()
    assert len(first) == 3
    store.apply(settings)
    assert registry() == first
    assert sys.path == environment[1]
    assert {"entities", "feature_views"}.isdisjoint(set(sys.modules) - set(environment[0]))


def test_a_scenario_that_is_gone_keeps_its_rows_and_leaves_its_service(make_settings: SettingsFactory) -> None:
    from updater import store

    settings = make_settings()
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    store.apply(settings)
    store.materialize(settings, at, [VIEW])
    others = [
        {"name": "takeout", "domain": "marketing", "query": "?"},
        {"name": "late", "domain": "risk", "query": "?"},
    ]
    settings = make_settings(scenarios=others)
    store.apply(settings)
    opened = store.open_store(settings)
    assert _registered(opened)["services"]["risk_v1"] == {"late_v1", "modality_summaries"}
    assert store.online_rows(opened, ["a"], FEATURES)["lapse_model_version"] == ["v1"]


def test_several_model_versions_side_by_side(make_settings: SettingsFactory) -> None:
    from updater.store.repository.features import feature_services

    services = feature_services(make_settings(), versions=(1, 2))
    assert list(services) == ["risk_v1", "marketing_v1", "risk_v2", "marketing_v2"]
    assert {p.name for p in services["risk_v2"].feature_view_projections} == {"lapse_v2", "modality_summaries"}


def test_errors_say_what_is_wrong_and_the_way_out(make_settings: SettingsFactory, tmp_path: Path) -> None:
    from updater import store

    settings = make_settings()
    opened = store.open_store(settings)
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    with pytest.raises(ConfigError, match=r"lapse_v1.*updater init"):
        store.materialize(opened, at, [VIEW])
    with pytest.raises(ConfigError, match=r"lapse_v1.*updater init"):
        store.online_rows(opened, ["a"], FEATURES)
    with pytest.raises(ConfigError, match=r"risk_v1.*updater init"):
        store.online_rows(opened, ["a"], "risk_v1")
    store.apply(settings)
    entities = pd.DataFrame({"user_id": ["a"], "event_timestamp": [at.as_of]})
    with pytest.raises(ConfigError, match=r"offline/takeout_v1.*updater run"):
        store.historical_rows(opened, entities, ["takeout_v1:takeout_as_of"])
    with pytest.raises(ConfigError, match="no Python files"):
        store.apply(make_settings(paths={"feature_repo": str(tmp_path)}))

    secret = "hunter2"
    unreachable = f"postgresql+psycopg://me:{secret}@127.0.0.1:1/feast"
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:1/feast") as refused:
        store.open_store(make_settings(registry={"url": unreachable}))
    assert secret not in str(refused.value)
    assert "\n" not in str(refused.value)
    redis = {"type": "redis", "connection_string": f"127.0.0.1:1,db=0,password={secret}"}
    settings = make_settings(online_store=redis)
    store.apply(settings)
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:1,db=0") as refused:
        store.materialize(settings, at, [VIEW])
    assert secret not in str(refused.value)
    postgres = {"type": "postgres", "host": "127.0.0.1", "port": 1, "database": "d", "user": "u", "password": secret}
    with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:1/d") as refused:
        store.apply(make_settings(online_store={**postgres, "sslmode": "disable"}))
    assert secret not in str(refused.value)


@pytest.mark.services
def test_the_registry_may_be_postgresql(
    postgres_url: str, make_settings: SettingsFactory, caplog: pytest.LogCaptureFixture
) -> None:
    from updater import store

    settings = make_settings(registry={"url": postgres_url})
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    store.apply(settings)
    store.apply(settings)
    opened = store.open_store(settings)
    store.materialize(opened, at, [VIEW])
    assert store.online_rows(opened, ["a"], "risk_v1")["lapse_model_version"] == ["v1"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    opened.registry.write_engine.dispose()


def test_importing_the_repository_leaves_the_process_alone(
    make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two threads at once each gets its own deployment, whatever UPDATER_CONFIG says."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    from updater.store.definitions import defined_objects

    monkeypatch.setenv("UPDATER_CONFIG", "/nowhere.toml")
    deployments = [make_settings(name) for name in ("one", "two")] * 4
    before = dict(os.environ), list(sys.path), set(sys.modules)
    with ThreadPoolExecutor(4) as pool:
        for settings, objects in zip(deployments, pool.map(defined_objects, deployments), strict=True):
            paths = {view.batch_source.path for view in objects if hasattr(view, "batch_source")}
            assert {path.partition("/offline/")[0] for path in paths} == {settings.paths.state}
    assert (dict(os.environ), sys.path) == before[:2]
    assert {"data_sources", "feature_views"}.isdisjoint(set(sys.modules) - before[2])


def test_a_repository_that_takes_its_config_from_elsewhere_is_refused(
    make_settings: SettingsFactory, tmp_path: Path
) -> None:
    """As a copy of another release may."""
    import shutil

    from updater import store

    other, copy = make_settings("other"), tmp_path / "copy"
    settings = make_settings("mine", paths={"feature_repo": str(copy)})
    shutil.copytree(other.paths.feature_repo, copy)
    stale = f"""
from updater.settings import load_settings
from updater.store.repository.features import feature_services, feature_views

settings = load_settings({str(other.source)!r})
globals().update(feature_views(settings, (1,)))
globals().update({{f"service_{{name}}": made for name, made in feature_services(settings, (1,)).items()}})
"""
    (copy / "features.py").write_text(stale)
    with pytest.raises(ConfigError, match=r"other/state/offline/.* but this state's lie in"):
        store.apply(settings)
    assert store.open_store(settings).list_feature_views() == []


def test_feast_is_quiet_while_it_loads_and_nobody_else_is(
    make_settings: SettingsFactory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from updater import store
    from updater.store.engine import WireBatchEngine

    settings = make_settings()
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    store.apply(settings)
    capsys.readouterr()
    load = WireBatchEngine._load

    def talking(*args: Any) -> Any:
        print("somebody else")
        return load(*args)

    monkeypatch.setattr(WireBatchEngine, "_load", talking)
    store.materialize(settings, at, [VIEW])
    assert capsys.readouterr().out == "somebody else\n"
