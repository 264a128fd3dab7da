"""Feast's own commands on a state: they work on this state or refuse, and one can come back from what they remove."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import SettingsFactory
from tests.integration.feast_cli import feast
from tests.integration.store_helpers import FEATURES, STORES, VIEW, store_options, vectors, write_lapse
from updater import store
from updater.errors import ConfigError, UpdaterError
from updater.settings import Settings

OTHER = [{"name": "churn", "domain": "risk", "query": "Will this user go?"}]


def registered(settings: Settings) -> dict[str, str]:
    """Where the offline rows of each registered feature view lie."""
    return {view.name: view.batch_source.path for view in store.open_store(settings).list_feature_views()}


def values(settings: Settings, users: list[str]) -> Any:
    return store.online_rows(store.open_store(settings), users, FEATURES)


@pytest.mark.parametrize("stray", [True, False], ids=["another config", "no config"])
def test_apply_and_plan_are_about_the_state_of_the_file(make_settings: SettingsFactory, stray: bool) -> None:
    settings, other = make_settings("one", scenarios=OTHER), make_settings("two")
    store.apply(settings)
    store.apply(other)
    before = registered(settings)
    assert set(before) == {"churn_v1", "modality_summaries"}
    env = {"UPDATER_CONFIG": str(other.source)} if stray else {}
    for verb in ("plan", "apply", "apply"):
        done = feast(settings, verb, env=env)
        assert done.exit_code == 0, done.output
        assert registered(settings) == before
    assert {path.rpartition("/offline/")[0] for path in registered(other).values()} == {other.paths.state}


def test_apply_refuses_in_one_sentence_where_it_cannot_know(make_settings: SettingsFactory, tmp_path: Path) -> None:
    settings = make_settings("one")
    store.apply(settings)
    before = registered(settings)
    yaml = Path(settings.paths.state, "feature_store.yaml")

    nameless = tmp_path / "nameless.yaml"
    nameless.write_text(re.sub(r"^  (config_file|state):.*\n", "", yaml.read_text(), flags=re.MULTILINE))
    elsewhere = {"UPDATER_PATHS__STATE": str(tmp_path / "elsewhere")}
    moved = tmp_path / "moved.yaml"
    moved.write_text(yaml.read_text().replace(str(settings.source), str(tmp_path / "gone.toml")))
    for file, env, words in (
        (nameless, {}, "does not name the config"),
        (moved, {}, "gone.toml, which .* is not there any more"),
        (yaml, elsewhere, "elsewhere and not that of"),
    ):
        for verb in ("apply", "plan"):
            done = feast(settings, verb, yaml=file, env=env)
            assert done.exit_code == 1
            assert re.search(words, done.output) and "updater init" in done.output
            assert len(done.output.strip().splitlines()) == 1
    assert registered(settings) == before


@pytest.mark.parametrize("kind", STORES)
def test_a_deleted_view_comes_back(kind: str, request: pytest.FixtureRequest, make_settings: SettingsFactory) -> None:
    settings = make_settings(online_store=store_options(kind, request))
    at = write_lapse(settings, "2024-02-28", ["a", "b"], vectors(2, seed=1))
    assert store.apply(settings) == ["lapse_v1", "modality_summaries", "takeout_v1"]
    store.materialize(settings, at, [VIEW])
    expected = values(settings, ["a", "b", "nobody"])
    for name in ("risk_v1", VIEW):
        done = feast(settings, "delete", name)
        assert done.exit_code == 0, done.output
        assert "Deleted" in done.output
    assert VIEW not in registered(settings)
    with pytest.raises(ConfigError, match=r"lapse_v1.*updater init"):
        store.materialize(settings, at, [VIEW])

    assert store.apply(settings) == [VIEW]
    assert values(settings, ["a"])["lapse_as_of"] == [None]
    done = feast(settings, "materialize", "--disable-event-timestamp", "-v", VIEW)
    assert done.exit_code == 0, done.output
    assert values(settings, ["a", "b", "nobody"]) == expected
    assert store.apply(settings) == []


@pytest.mark.parametrize("name", ["user", "lapse_v1_offline", "modality_summaries", "nothing_of_that_name"])
def test_whatever_is_deleted_comes_back(name: str, make_settings: SettingsFactory) -> None:
    settings = make_settings()
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    store.apply(settings)
    before = registered(settings)
    done = feast(settings, "delete", name)
    assert done.exit_code == 0, done.output
    store.apply(settings)
    assert registered(settings) == before
    assert store.materialize(settings, at, [VIEW]) == {VIEW: 1}
    assert store.online_rows(store.open_store(settings), ["a"], "risk_v1")["lapse_model_version"] == ["v1"]


@pytest.mark.parametrize("back", ["updater init", "feast apply"])
@pytest.mark.parametrize("kind", STORES)
def test_a_store_that_was_torn_down_comes_back(
    kind: str, back: str, request: pytest.FixtureRequest, make_settings: SettingsFactory
) -> None:
    settings = make_settings(online_store=store_options(kind, request))
    days = [
        write_lapse(settings, day, users, vectors(2, seed=1))
        for day, users in (("2024-02-27", ["a", "b"]), ("2024-02-28", ["b", "c"]))
    ]
    store.apply(settings)
    for at in days:
        store.materialize(settings, at, [VIEW])
    expected = values(settings, ["a", "b", "c", "nobody"])
    for _ in range(2):
        done = feast(settings, "teardown")
        assert done.exit_code == 0, done.output
        assert registered(settings) == {}
        if back == "updater init":
            assert VIEW in store.apply(settings)
        else:
            done = feast(settings, "apply")
            assert done.exit_code == 0, done.output
        assert values(settings, ["a"])["lapse_as_of"] == [None]
    assert feast(settings, "materialize", "--disable-event-timestamp").exit_code == 0
    assert values(settings, ["a", "b", "c", "nobody"]) == expected


def test_a_registry_that_an_earlier_release_tore_down_comes_back(make_settings: SettingsFactory) -> None:
    settings = make_settings()
    store.apply(settings)
    opened = store.open_store(settings)
    for project in opened.list_projects():
        opened.registry.delete_project(project.name)
    assert VIEW in store.apply(settings)


def test_rows_of_another_state_are_no_rows_of_this_one(make_settings: SettingsFactory) -> None:
    """Neither loaded nor joined, and certainly not "0 rows"."""
    settings, other = make_settings("one"), make_settings("two")
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    write_lapse(other, "2024-02-28", ["a"], vectors(1, seed=2))
    store.apply(settings)
    opened = store.open_store(settings)
    view = opened.get_feature_view(VIEW)
    view.batch_source.file_options.uri = f"{other.paths.state}/offline/{VIEW}"
    opened.registry.apply_feature_view(view, opened.project)
    opened.refresh_registry()
    entities = pd.DataFrame({"user_id": ["a"], "event_timestamp": [at.as_of]})
    for attempt in (
        lambda: store.materialize(settings, at, [VIEW]),
        lambda: store.historical_rows(opened, entities, FEATURES),
        lambda: store.historical_rows(opened, entities, "risk_v1"),
        lambda: opened.apply([view]),
    ):
        with pytest.raises(ConfigError, match=r"two/state/offline/lapse_v1.*updater init"):
            attempt()
    store.apply(settings)
    assert store.materialize(settings, at, [VIEW]) == {VIEW: 1}


def test_rows_that_are_gone_are_an_error(make_settings: SettingsFactory) -> None:
    settings = make_settings()
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    store.apply(settings)
    # A view without rows so far is nothing special.
    assert store.materialize(settings, at, [VIEW, "takeout_v1"]) == {VIEW: 1, "takeout_v1": 0}
    state = Path(settings.paths.state)
    (state / "offline").rename(state / "offside")
    opened = store.open_store(settings)
    entities = pd.DataFrame({"user_id": ["a"], "event_timestamp": [at.as_of]})
    for attempt in (
        lambda: store.materialize(settings, at, [VIEW]),
        lambda: store.historical_rows(opened, entities, FEATURES),
    ):
        with pytest.raises(ConfigError, match="offline/lapse_v1, which does not exist"):
            attempt()
    done = feast(settings, "materialize", "--disable-event-timestamp")
    assert isinstance(done.exception, ConfigError)


def test_a_state_under_another_name_is_the_same(make_settings: SettingsFactory, tmp_path: Path) -> None:
    settings = make_settings("one")
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    store.apply(settings)
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert store.materialize(make_settings("two"), at, [VIEW]) == {VIEW: 1}


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def test_a_table_that_is_gone_asks_for_init(
    kind: str, request: pytest.FixtureRequest, make_settings: SettingsFactory
) -> None:
    settings = make_settings(online_store=store_options(kind, request))
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    store.apply(settings)
    opened = store.open_store(settings)
    online = opened.provider.online_store
    online.update(opened.config, [opened.get_feature_view(VIEW)], [], [], [], partial=True)
    if kind == "postgres":
        with online.connection(opened.config) as connection:
            connection.commit()
    for attempt in (lambda: store.materialize(opened, at, [VIEW]), lambda: values(settings, ["a"])):
        with pytest.raises(ConfigError, match=r"not complete.*updater_lapse_v1.*updater init"):
            attempt()


def test_a_refused_statement_is_not_called_a_server_that_does_not_answer(make_settings: SettingsFactory) -> None:
    import sqlite3

    from sqlalchemy.exc import IntegrityError

    from updater.errors import ServiceUnavailableError
    from updater.store.repository.connecting import explained

    config = store.open_store(make_settings()).config
    cause = sqlite3.IntegrityError("UNIQUE constraint failed: feature_views")
    for error in (IntegrityError("INSERT …", None, cause), cause):
        with (
            pytest.raises(UpdaterError, match=r"refused a statement \(IntegrityError: UNIQUE") as raised,
            explained(config),
        ):
            raise error
        assert not isinstance(raised.value, ServiceUnavailableError)
