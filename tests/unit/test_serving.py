"""Questions over HTTP: what is asked and refused, without a model or a state."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from updater.errors import ConfigError, NothingCommittedError, ServiceUnavailableError
from updater.serving import app as serving
from updater.serving.answering import Answers
from updater.serving.requests import MOST_BYTES, MOST_CHARACTERS, MOST_USERS

AS_OF = "2024-03-30T00:00:00+00:00"
VALUES = {"ann": [0.6, 0.8], "bob": [1.0, 0.0]}
TOLD = {"ann": 0.25, "bob": -1.5}
MILK = {"user_id": "ann", "query": "milk?"}


class Known:
    """Stands for the model and the state: knows two users, or fails as it is told."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.error: Exception | None = None
        self.before: Callable[[], Any] = bool

    def ask(self, user_ids: Sequence[str], query: str) -> Answers:
        self.before()
        if self.error:
            raise self.error
        found = [VALUES.get(user) for user in user_ids], [TOLD.get(user) for user in user_ids]
        return Answers(query, AS_OF, "v1-x", False, list(user_ids), *found)

    def views(self) -> list[str]:
        return ["lapse_v1", "takeout_v1"]

    def close(self) -> None:
        self.thread.shutdown()


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def client(known: Known) -> Iterator[TestClient]:
    with TestClient(serving.application(known, None), raise_server_exceptions=False) as client:  # type: ignore[arg-type]
        yield client


def refused(answer: Any, status: int) -> str:
    """The sentence with which a request was refused."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"detail"}
    sentence: str = answer.json()["detail"]
    assert "\n" not in sentence
    return sentence


def test_one_user_is_answered_as_the_command_does(client: TestClient) -> None:
    answer = client.post("/embed", json=MILK)
    assert answer.status_code == 200
    assert answer.json() == {
        "user_id": "ann",
        "query": "milk?",
        "scenario": None,
        "as_of": AS_OF,
        "model": "v1-x",
        "trained": False,
        "embedding": [0.6, 0.8],
        "answer": 0.25,
    }


def test_several_users_are_answered_in_their_order(client: TestClient) -> None:
    answer = client.post("/embed", json={"user_ids": ["bob", "nobody", "ann", "bob"], "query": "milk?"})
    assert answer.status_code == 200
    assert answer.json() == {
        "query": "milk?",
        "as_of": AS_OF,
        "model": "v1-x",
        "trained": False,
        "user_ids": ["bob", "nobody", "ann", "bob"],
        "embeddings": [[1.0, 0.0], None, [0.6, 0.8], [1.0, 0.0]],
        "answers": [-1.5, None, 0.25, -1.5],
    }


def test_a_user_who_is_not_known_is_not_found(client: TestClient) -> None:
    sentence = refused(client.post("/embed", json={**MILK, "user_id": "nobody"}), 404)
    assert sentence == f"User 'nobody' has no event in the buffer as of {AS_OF}, or was erased."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "JSON decode error"),
        ("[]", "valid dictionary"),
        (json.dumps({"query": "milk?"}), "either user_id or user_ids"),
        (json.dumps({**MILK, "user_ids": ["bob"]}), "either user_id or user_ids"),
        (json.dumps({"user_ids": [], "query": "milk?"}), "user_ids: "),
        (json.dumps({"user_ids": ["u"] * (MOST_USERS + 1), "query": "milk?"}), f"at most {MOST_USERS} items"),
        (json.dumps({**MILK, "user_id": 1018}), "user_id: Input should be a valid string"),
        (json.dumps({**MILK, "user_id": ""}), "user_id: "),
        (json.dumps({**MILK, "user_id": "\ud800"}), "user_id: Input should be a valid string"),
        (json.dumps({"user_id": "ann"}), "query: Field required"),
        (json.dumps({**MILK, "query": " \n"}), "query: is empty"),
        (json.dumps({**MILK, "query": "m" * (MOST_CHARACTERS + 1)}), f"at most {MOST_CHARACTERS} characters"),
        (json.dumps({**MILK, "scenario": "lapse"}), "scenario: Extra inputs"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(client: TestClient, body: str, words: str) -> None:
    sentence = refused(client.post("/embed", content=body, headers={"Content-Type": "application/json"}), 422)
    assert words in sentence
    assert '{"user_id": "1018", "query": "Will this user buy milk?"}' in sentence


def test_who_does_not_say_that_it_is_json_is_told_the_header(client: TestClient) -> None:
    assert "with the header Content-Type: application/json" in refused(
        client.post("/embed", content=json.dumps(MILK)), 422
    )


def test_a_body_that_is_too_long_is_refused_while_it_comes_in(client: TestClient) -> None:
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(4):
            sent += MOST_BYTES // 2 + 1
            yield b" " * (MOST_BYTES // 2 + 1)

    sentence = refused(client.post("/embed", content=parts()), 413)
    assert "1,048,576 bytes" in sentence


def test_who_comes_when_many_wait_is_told_to_come_again(
    client: TestClient, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING", 1)
    begun, go_on = Event(), Event()
    known.before = lambda: (begun.set(), go_on.wait(60))
    with ThreadPoolExecutor(1) as other:
        first = other.submit(client.post, "/embed", json=MILK)
        assert begun.wait(60)
        second = client.post("/embed", json=MILK)
        go_on.set()
        assert first.result(60).status_code == 200
    assert "1 questions wait already" in refused(second, 503)
    assert second.headers["Retry-After"] == "1"
    assert client.post("/embed", json=MILK).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NothingCommittedError("No window in /srv/state."), 503, "No window is committed yet"),
        (ServiceUnavailableError("The ledger at /srv/state does not answer."), 503, "(ServiceUnavailableError)"),
        (ConfigError("/srv/state has another digest."), 500, "(ConfigError)"),
        (KeyError("/srv/state"), 500, "(KeyError)"),
    ],
)
def test_what_is_wrong_inside_is_named_and_not_told(
    client: TestClient, known: Known, error: Exception, status: int, words: str
) -> None:
    known.error = error
    for answer in (client.post("/embed", json=MILK), client.get("/health")):
        sentence = refused(answer, status)
        assert words in sentence
        assert "/srv" not in sentence


def test_health_says_what_answers_rest_on(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok", "as_of": AS_OF, "model": "v1-x"}


def test_only_who_may_read_every_view_may_ask(known: Known) -> None:
    seen: list[Sequence[str]] = []

    class Guard:
        """Stands for Feast's checks: a token is the name of whoever has it."""

        user = ""

        async def who_asks(self) -> None:
            if not self.user:
                raise HTTPException(401, "Missing authentication token")

        def refusal(self, views: Sequence[str]) -> str | None:
            seen.append(views)
            return None if self.user == "boss" else "takeout_v1 requires roles ['boss']"

    guard = Guard()
    with TestClient(serving.application(known, guard)) as client:  # type: ignore[arg-type]
        assert refused(client.post("/embed", json=MILK), 401) == "Missing authentication token"
        assert seen == []
        guard.user = "clerk"
        assert "every feature view (takeout_v1 requires roles ['boss'])." in refused(
            client.post("/embed", json=MILK), 403
        )
        guard.user = "boss"
        assert client.post("/embed", json=MILK).status_code == 200
        assert seen == [known.views()] * 2
        guard.user = ""
        assert client.get("/health").status_code == 200
