"""The client of a chat completions endpoint, against a real HTTP server: when it tries again, and when it gives up."""

from threading import Event
from typing import Any

import pytest

from tests.integration.chat_server import TOKENS, Answer, ChatServer, completion, serving
from updater.domain.declared.generator import GeneratorChoice
from updater.errors import ConfigError, ServiceUnavailableError
from updater.language_models.chat import MAX_BYTES, Chat
from updater.language_models.speaker import Reply


def choice_for(server: ChatServer, **changes: Any) -> GeneratorChoice:
    return GeneratorChoice(kind="llm", url=f"{server.url}/", model="m", **{"max_retries": 3, **changes})


def ask(choice: GeneratorChoice) -> tuple[Reply, list[float]]:
    """A reply, and how long the client waited before its tries."""
    waits: list[float] = []
    chat = Chat(choice, "", waits.append, lambda: 0.0)
    return chat.ask(chat.request("system", "Hello")), waits


def in_turn(server: ChatServer, *answers: Answer) -> None:
    queue = iter(answers)
    server.respond = lambda _: next(queue)


def test_a_busy_endpoint_is_asked_again_when_it_wants_to_be(server: ChatServer) -> None:
    date_header = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}
    in_turn(
        server,
        (429, {"Retry-After": "17"}, {}),
        (503, date_header, "<html>"),
        (200, {}, {"error": {"message": "overloaded"}}),
        completion("hi"),
    )
    assert ask(choice_for(server)) == (Reply("hi", TOKENS), [17.0, 30.0, 4.0])


def test_tries_end(server: ChatServer) -> None:
    server.respond = lambda _: (500, {}, {"error": {"message": "out of\nmemory"}})
    with pytest.raises(ServiceUnavailableError, match=r"no reply in 4 tries \(status 500 out of memory\)"):
        ask(choice_for(server))
    assert len(server.asked) == 4
    server.respond = lambda _: (429, {"Retry-After": "86400"}, {})
    with pytest.raises(ServiceUnavailableError, match=r"in 1 tries .* asks for a wait of 86400 s"):
        ask(choice_for(server))


def test_a_closed_client_asks_nobody(server: ChatServer) -> None:
    chat = Chat(choice_for(server))
    chat.close()
    with pytest.raises(RuntimeError, match="closed"):
        chat.ask(chat.request("system", "Hello"))
    assert not server.asked


def test_nobody_listens() -> None:
    with serving() as closed:
        pass
    with pytest.raises(ServiceUnavailableError, match=r"in 4 tries \(ConnectError"):
        ask(choice_for(closed))


def test_silence_ends(server: ChatServer) -> None:
    over = Event()
    server.respond = lambda _: completion("late" if over.wait(60) else "later")
    try:
        with pytest.raises(ServiceUnavailableError, match=r"in 2 tries \(ReadTimeout"):
            ask(choice_for(server, max_retries=1, timeout_seconds=0.1))
    finally:
        over.set()


@pytest.mark.parametrize(
    ("status", "message"), [(400, "generator.model"), (404, "generator.url"), (401, "api_key_env"), (302, "status 302")]
)
def test_a_request_that_would_fail_again_is_not_tried_again(server: ChatServer, status: int, message: str) -> None:
    server.respond = lambda _: (status, {"Location": "http://localhost:1/"}, {"detail": "no"})
    with pytest.raises(ConfigError, match=message):
        ask(choice_for(server))
    assert len(server.asked) == 1


def test_what_is_sent_is_the_protocol(server: ChatServer) -> None:
    ask(choice_for(server, temperature=0.25))
    [body], [headers] = server.asked, server.headers
    messages = [{"role": "system", "content": "system"}, {"role": "user", "content": "Hello"}]
    assert body == {"model": "m", "messages": messages, "temperature": 0.25}
    assert "Authorization" not in headers and headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": None}, {"total_tokens": 0}, {"total_tokens": "9"}])
def test_a_reply_without_usage_is_not_free(server: ChatServer, usage: Any) -> None:
    body = {"choices": [{"message": {"content": "0" * 300}}], **({} if usage is None else {"usage": usage})}
    server.respond = lambda _: (200, {}, body)
    reply, _ = ask(choice_for(server))
    assert 100 <= reply.total_tokens < 110


def test_a_reply_of_nothing_is_an_empty_text(server: ChatServer) -> None:
    server.respond = lambda _: completion(None)
    assert ask(choice_for(server)) == (Reply("", TOKENS), [])


def test_a_reply_that_never_ends_is_none(server: ChatServer) -> None:
    server.respond = lambda _: (200, {}, "x" * (MAX_BYTES + 1))
    with pytest.raises(ServiceUnavailableError, match="no whole reply"):
        ask(choice_for(server, max_retries=0))


def test_a_reply_of_brackets_is_none(server: ChatServer) -> None:
    server.respond = lambda _: (200, {}, "[" * 100_000)
    with pytest.raises(ServiceUnavailableError, match="without a chat completion"):
        ask(choice_for(server, max_retries=0))
