"""An endpoint that speaks the chat completions protocol over HTTP, with a model that follows the prompts' form."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = tuple[int, dict[str, str], Any]
"""Status, headers and body; a body that is no string is sent as JSON."""
Respond = Callable[[dict[str, Any]], Answer]
TOKENS = 100


def completion(text: str | None) -> Answer:
    message = {"role": "assistant", "content": text}
    return 200, {}, {"choices": [{"index": 0, "message": message}], "usage": {"total_tokens": TOKENS}}


def prompt(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def listed(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The numbered items of a request."""
    return [json.loads(line) for line in prompt(body).splitlines() if line.startswith('{"number"')]


def step(body: dict[str, Any]) -> str:
    return next(name for name in ("topic", "draft", "question") if name in listed(body)[0])


def items(texts: dict[int, str]) -> str:
    return json.dumps({"items": [{"number": number, "text": text} for number, text in texts.items()]})


def speak(body: dict[str, Any]) -> str:
    """A model that asks the topics' questions, is wrong about dairy, and corrects that when it re-reads its draft.

    It leaves in what it made up: a taste for fuel, and a number of purchases.
    """
    found = listed(body)
    if step(body) == "topic":
        chosen = found[: int(re.findall(r"Choose the (\d+) topics", prompt(body))[0])]
        return items({item["number"]: item["topic"] for item in chosen})
    if step(body) == "question":
        draft = "The user bought dairy 9 times. The user likes fuel. There are 4711 bill events. The user plans ahead."
        return items({item["number"]: draft for item in found})
    dairy = re.search(r'category "dairy": (\d+) events', prompt(body))
    right = f"The user bought dairy {dairy[1]} times. " if dairy else ""
    revised = {item["number"]: item["draft"].replace("The user bought dairy 9 times. ", right) for item in found}
    return f"<think>Let me check [1].</think>\nHere it is:\n```json\n{items(revised)}\n```"


class ChatServer:
    """What was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        """Bodies that got a status 200."""
        self.headers: list[dict[str, str]] = []
        self.respond: Respond = lambda body: completion(speak(body) if listed(body) else "hi")
        self.url = ""


@contextmanager
def serving() -> Iterator[ChatServer]:
    """A server on a free loopback port."""
    state = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append(body)
            state.headers.append(dict(self.headers))
            status, headers, payload = state.respond(body) if self.path == "/v1/chat/completions" else (404, {}, {})
            if status == 200:
                state.answered.append(body)
            content = (payload if isinstance(payload, str) else json.dumps(payload)).encode()
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # A client that has waited long enough is gone.
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
