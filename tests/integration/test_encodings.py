"""PostgreSQL databases in another encoding than UTF-8 are refused, and a client's encoding makes no difference."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from tests.conftest import POSTGRES_URL, SettingsFactory
from tests.integration.store_helpers import FEATURES, VIEW, vectors, write_lapse
from updater import store
from updater.errors import ConfigError
from updater.ledger import open_reader, open_writer, upgrade
from updater.pipeline import init as setup

pytestmark = pytest.mark.services


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def odd_url(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    """A fresh database in another encoding."""
    name, server = f"updater_test_{uuid4().hex}", make_url(postgres_url).set(drivername="postgresql")
    with psycopg.connect(server.render_as_string(hide_password=False), autocommit=True) as admin:
        admin.execute(
            f"CREATE DATABASE {name} ENCODING '{request.param}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        yield make_url(POSTGRES_URL).set(database=name).render_as_string(hide_password=False)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def online_options(url: str) -> dict[str, Any]:
    server = make_url(url)
    return {
        "type": "postgres",
        "host": server.host,
        "port": server.port,
        "database": server.database,
        "user": server.username,
        "password": server.password or "",
        "sslmode": "disable",
    }


def test_a_ledger_in_another_encoding_is_refused(odd_url: str) -> None:
    for open_ledger in (upgrade, open_reader, open_writer):
        with pytest.raises(ConfigError, match=r"ledger at postgresql.* encoding (SQL_ASCII|LATIN1).*UTF8"):
            open_ledger(odd_url)


def test_a_registry_in_another_encoding_is_refused(odd_url: str, make_settings: SettingsFactory) -> None:
    settings = make_settings(registry={"url": odd_url})
    for open_registry in (store.open_store, store.apply):
        with pytest.raises(ConfigError, match=r"registry at postgresql.* encoding (SQL_ASCII|LATIN1).*UTF8"):
            open_registry(settings)


@pytest.mark.parametrize("pooled", [False, True])
def test_an_online_store_in_another_encoding_is_refused(
    odd_url: str, pooled: bool, make_settings: SettingsFactory
) -> None:
    options = {**online_options(odd_url), **({"conn_type": "pool", "min_conn": 1, "max_conn": 2} if pooled else {})}
    settings = make_settings(online_store=options)
    opened = store.open_store(settings)
    at = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1))
    attempts: list[Callable[[], Any]] = [lambda: store.apply(settings)]
    store.apply(make_settings())  # registers the views in the same registry
    attempts += [
        lambda: store.materialize(opened, at, [VIEW]),
        lambda: store.online_rows(opened, ["a"], FEATURES),
    ]
    for attempt in attempts:
        with pytest.raises(ConfigError, match=r"online store .* encoding (SQL_ASCII|LATIN1).*UTF8"):
            attempt()


@pytest.mark.parametrize("part", ["registry", "online_store"])
def test_init_refuses_before_it_makes_a_model(
    odd_url: str, part: str, make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(**{part: {"url": odd_url} if part == "registry" else online_options(odd_url)})
    monkeypatch.setattr(setup, "_first_model", lambda *_: pytest.fail("a model was made"))
    with pytest.raises(ConfigError, match="encoding"):
        setup.initialize(settings)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_the_client_encoding_makes_no_difference(
    encoding: str, postgres_url: str, make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    settings = make_settings(
        ledger={"url": postgres_url}, registry={"url": postgres_url}, online_store=online_options(postgres_url)
    )
    upgrade(postgres_url)
    ledger = open_writer(postgres_url)
    ledger.fix_setting("name", "naïve 東京")
    assert open_reader(postgres_url).settings()["name"] == "naïve 東京"
    users = ["naïve", "東京"]
    at = write_lapse(settings, "2024-02-28", users, vectors(2, seed=1))
    store.apply(settings)
    opened = store.open_store(settings)
    store.materialize(opened, at, [VIEW])
    assert store.online_rows(opened, users, FEATURES)["lapse_model_version"] == ["v1", "v1"]
    opened.registry.write_engine.dispose()
