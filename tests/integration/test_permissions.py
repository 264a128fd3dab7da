"""Feast's servers let roles read what `[[permissions]]` says, and refuse the rest: a real server, real tokens."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient
from feast.feature_server import get_app
from feast.permissions.auth.auth_manager import set_auth_manager
from feast.permissions.security_manager import no_security_manager
from feast.permissions.server.utils import (
    AuthManagerType,
    ServerType,
    init_auth_manager,
    init_security_manager,
    str_to_auth_manager_type,
)

from tests.conftest import SettingsFactory
from tests.deployment import Deployment
from tests.factories import MODALITIES, bill, land_rows, search
from tests.identity import PERMISSIONS, IdentityProvider
from updater.errors import ConfigError
from updater.settings import load_settings
from updater.store.access import online_rows
from updater.store.definitions import apply
from updater.store.repository.config import write_feature_store_yaml
from updater.store.repository.connecting import open_store

DAY = date(2024, 5, 1)
PROFILES = {"domain": "profile", "roles": ["profile_reader"]}


@pytest.fixture(scope="module")
def made(provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    root = tmp_path_factory.mktemp("permissions")
    made = Deployment.create(
        root,
        modalities=MODALITIES,
        auth=provider.auth,
        permissions=[*PERMISSIONS, PROFILES],
        profile={"enabled": True},
    )
    land_rows(made.lake, "bill", DAY, [bill("ann", "e1", "2024-05-01 10:00:00")])
    land_rows(made.lake, "search", DAY, [search("ann", "e1", "2024-05-01 11:00:00")])
    made.run([DAY])
    return made


@pytest.fixture(scope="module")
def client(made: Deployment) -> Iterator[TestClient]:
    """Feast's feature server over the state, with the security that `feast serve` sets up before it listens."""
    store = open_store(made.settings)
    config = store.config.auth_config
    kind = str_to_auth_manager_type(config.type)
    assert kind == AuthManagerType.OIDC
    init_security_manager(auth_type=kind, fs=store)
    init_auth_manager(auth_type=kind, server_type=ServerType.REST, auth_config=config)
    with TestClient(get_app(store), raise_server_exceptions=False) as client:
        yield client
    no_security_manager()
    set_auth_manager(None)


def ask(client: TestClient, headers: dict[str, str], **what: Any) -> Any:
    return client.post("/get-online-features", json={**what, "entities": {"user_id": ["ann"]}}, headers=headers)


def values(answer: Any) -> set[str]:
    """The features that have a value."""
    body = answer.json()
    pairs = zip(body["metadata"]["feature_names"], body["results"], strict=True)
    return {name for name, result in pairs if result["values"][0] is not None}


RISK = ({"feature_service": "risk_v1"}, {"features": ["lapse_v1:lapse_as_of"]})
MARKETING = ({"feature_service": "marketing_v1"}, {"features": ["takeout_v1:takeout_as_of"]})
PROFILE = ({"feature_service": "profile_v1"}, {"features": ["user_text_profile_v1:profile_text"]})
SUMMARIES = {"features": ["modality_summaries:bill_num_events"]}


@pytest.mark.parametrize("role", ["risk_reader", "auditor"])
def test_a_role_reads_its_domain_and_no_other(client: TestClient, provider: IdentityProvider, role: str) -> None:
    headers = provider.token(role)
    for what in (*RISK, SUMMARIES):
        answer = ask(client, headers, **what)
        assert answer.status_code == 200, answer.text
        assert {"user_id"} < values(answer)
    for what in MARKETING:
        answer = ask(client, headers, **what)
        assert answer.status_code == 403, answer.text
        assert "marketing_reader" in answer.text
    for what in PROFILE:
        assert ask(client, headers, **what).status_code == 403


def test_the_textual_profile_is_read_by_its_own_readers(client: TestClient, provider: IdentityProvider) -> None:
    headers = provider.token("profile_reader")
    for what in PROFILE:
        answer = ask(client, headers, **what)
        assert answer.status_code == 200, answer.text
        assert "profile_text" in values(answer)
    for what in (*RISK, *MARKETING):
        assert ask(client, headers, **what).status_code == 403


def test_two_views_need_both_rights(client: TestClient, provider: IdentityProvider) -> None:
    what = {"features": ["lapse_v1:lapse_as_of", "takeout_v1:takeout_as_of"]}
    assert ask(client, provider.token("risk_reader"), **what).status_code == 403
    assert ask(client, provider.token("risk_reader", "marketing_reader"), **what).status_code == 200


def test_nobody_else_reads_anything(client: TestClient, provider: IdentityProvider) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for what in (*RISK, *MARKETING, *PROFILE, SUMMARIES):
        assert ask(client, provider.token("somebody_else"), **what).status_code == 403
        assert ask(client, provider.token(), **what).status_code == 403
        assert ask(client, {}, **what).status_code == 401
        assert ask(client, provider.token("risk_reader", key=other), **what).status_code == 401


def test_readers_cannot_write(client: TestClient, provider: IdentityProvider) -> None:
    rows = {"user_id": ["ann"], "event_timestamp": ["2030-01-01T00:00:00"], "lapse_as_of": [1]}
    before = ask(client, provider.token("risk_reader"), **RISK[1]).json()
    answer = client.post(
        "/write-to-online-store",
        json={"feature_view_name": "lapse_v1", "df": rows},
        headers=provider.token("risk_reader", "marketing_reader"),
    )
    assert answer.status_code == 403, answer.text
    window = {"start_ts": "2024-05-01T00:00:00", "end_ts": "2024-05-03T00:00:00"}
    answer = client.post("/materialize", json=window, headers=provider.token("risk_reader"))
    assert answer.status_code == 403, answer.text
    assert ask(client, provider.token("risk_reader"), **RISK[1]).json()["results"] == before["results"]


def test_the_daily_run_is_no_client_of_a_server(made: Deployment) -> None:
    """It opens the stores itself, as anybody can who has their files: permissions are the servers' own."""
    assert online_rows(open_store(made.settings), ["ann"], "marketing_v1")["takeout_as_of"][0] is not None


def test_permissions_follow_the_config(make_settings: SettingsFactory) -> None:
    apply(make_settings(permissions=PERMISSIONS))
    reduced = [{"domain": "risk", "roles": ["auditor"]}, PERMISSIONS[1]]
    settings = make_settings(permissions=reduced)
    apply(settings)
    found = {permission.name: permission for permission in open_store(settings).list_permissions()}
    assert set(found) == {
        "read_risk_services",
        "read_risk_views",
        "read_marketing_services",
        "read_marketing_views",
        "read_summaries",
        "describe",
    }
    assert found["read_risk_views"].policy.get_roles() == ["auditor"]
    assert found["read_summaries"].policy.get_roles() == ["auditor", "marketing_reader"]
    apply(make_settings())
    assert open_store(settings).list_permissions() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"permissions": PERMISSIONS[:1]}, "domain 'marketing' has no entry in "),
        ({"permissions": [*PERMISSIONS, PERMISSIONS[0]]}, "domain 'risk' twice"),
        ({"permissions": [*PERMISSIONS, {"domain": "fraud", "roles": ["x"]}]}, "domain 'fraud', which no scenario has"),
        ({"permissions": [{"domain": "risk", "roles": []}]}, "names no role"),
        ({"permissions": [{"domain": "risk"}]}, "roles' is missing"),
        ({"auth": {"type": "password"}}, "type is 'password'; use 'no_auth', 'oidc' or 'kubernetes'"),
    ],
)
def test_what_is_refused(make_settings: SettingsFactory, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_settings(**change)


def test_a_wrong_option_of_auth_is_a_sentence(make_settings: SettingsFactory) -> None:
    with pytest.raises(ConfigError, match=r"\[auth\] of .* is not valid: clinet_id"):
        open_store(make_settings(auth={"type": "oidc", "auth_discovery_url": "http://x", "clinet_id": "y"}))


def test_a_secret_of_auth_stays_out_of_the_file(make_settings: SettingsFactory) -> None:
    settings = make_settings(auth={"type": "oidc", "auth_discovery_url": "http://x", "client_secret": "hush"})
    text = Path(write_feature_store_yaml(settings)).read_text(encoding="utf-8")
    assert "hush" not in text
    assert "'${UPDATER_AUTH__CLIENT_SECRET}'" in text
    given = load_settings(settings.source, {"UPDATER_AUTH__CLIENT_SECRET": "other"})
    assert given.auth.options["client_secret"] == "other"
