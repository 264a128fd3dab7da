"""Questions over HTTP, from a real state and with Feast's own checks of tokens and rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient
from feast.permissions.auth.auth_manager import set_auth_manager
from feast.permissions.security_manager import no_security_manager

from tests import report_state
from tests.dags.shop import DAYS, USERS
from tests.deployment import Deployment
from tests.identity import PERMISSIONS, IdentityProvider
from tests.integration.test_versions import make_live, new_model
from updater.lake.pseudonyms import known_id
from updater.pipeline.erase.run import erase
from updater.pipeline.versions.registry import register_model
from updater.serving.answering import Answering
from updater.serving.app import application
from updater.settings import Settings
from updater.store.repository.guard import Guard

MILK = "Will this user buy milk?"


@contextmanager
def asking(settings: Settings, guard: Guard | None = None) -> Iterator[TestClient]:
    with TestClient(application(Answering(settings), guard)) as client:
        yield client


def ask(client: TestClient, user: str, headers: dict[str, str] | None = None) -> Any:
    return client.post("/embed", json={"user_id": user, "query": MILK}, headers=headers)


def test_what_happens_to_the_state_counts_from_the_next_question_on(tmp_path: Path) -> None:
    made = report_state.create(tmp_path / "shop", answers=True)
    with asking(made.settings) as client:
        assert ask(client, USERS[3]).status_code == client.get("/health").status_code == 503
        made.run(DAYS[:2])
        first = ask(client, USERS[3]).json()
        assert first == asdict(made.embed(USERS[3], MILK))
        made.run([DAYS[2]])
        second = ask(client, USERS[3]).json()
        assert second == asdict(made.embed(USERS[3], MILK))
        assert second["as_of"] > first["as_of"]
        both = client.post("/embed", json={"user_ids": [USERS[4], "nobody", USERS[3]], "query": MILK}).json()
        assert both["answers"] == [made.embed(USERS[4], MILK).answer, None, second["answer"]]
        version = register_model(made.context, new_model(made, tmp_path / "new"), "another", trained=True)
        make_live(made, version)
        third = ask(client, USERS[3]).json()
        assert third == asdict(made.embed(USERS[3], MILK))
        assert (third["model"], third["as_of"]) == (version.name, second["as_of"])
        assert third["embedding"] != second["embedding"]
        # The new model was not trained to answer.
        assert isinstance(second["answer"], float) and third["answer"] is None
        several = client.post("/embed", json={"user_ids": [USERS[4], "nobody", USERS[3]], "query": MILK}).json()
        assert several["answers"] == [None, None, None]
        assert several["embeddings"] == [made.embed(USERS[4], MILK).embedding, None, third["embedding"]]
        erase(made.context, [USERS[3]])
        assert ask(client, USERS[3]).status_code == ask(client, "nobody").status_code == 404
        again = client.post("/embed", json={"user_ids": [USERS[3], USERS[4]], "query": MILK}).json()
        assert again["embeddings"] == [None, several["embeddings"][0]]


def test_users_are_named_as_the_feature_store_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDATER_ID_KEY", "0123456789abcdef" * 4)
    made = report_state.create(tmp_path, answers=True, privacy={"pseudonymize": True, "key_env": "UPDATER_ID_KEY"})
    made.run(DAYS[:1])
    pseudonym = known_id(made.settings, USERS[3])
    with asking(made.settings) as client:
        assert ask(client, pseudonym).json() == asdict(made.embed(USERS[3], MILK))
        # Nobody finds out over HTTP whose pseudonym one is.
        assert ask(client, USERS[3]).status_code == 404


@pytest.fixture(scope="module")
def guarded(provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = report_state.create(
        tmp_path_factory.mktemp("guarded"), answers=True, auth=provider.auth, permissions=PERMISSIONS
    )
    made.run(DAYS[:1])
    yield made
    no_security_manager()
    set_auth_manager(None)


def test_who_may_read_every_view_may_ask(guarded: Deployment, provider: IdentityProvider) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    everything = ("risk_reader", "marketing_reader")
    with asking(guarded.settings, Guard(guarded.settings)) as client:
        for headers in ({}, provider.token(*everything, key=other), {"Authorization": "Bearer x"}):
            answer = ask(client, USERS[3], headers)
            assert (answer.status_code, set(answer.json())) == (401, {"detail"})
        for roles, missing in (
            ((), "risk_reader"),
            (("risk_reader",), "marketing_reader"),
            (("auditor",), "marketing"),
        ):
            answer = ask(client, USERS[3], provider.token(*roles))
            assert answer.status_code == 403
            assert missing in answer.json()["detail"]
        answer = ask(client, USERS[3], provider.token(*everything))
        assert answer.json() == asdict(guarded.embed(USERS[3], MILK))
        assert ask(client, "nobody", provider.token(*everything)).status_code == 404
        assert client.get("/health").status_code == 200
