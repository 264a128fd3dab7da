"""Servers that more than one file of tests talks to."""

from collections.abc import Iterator

import pytest

from tests.integration.chat_server import ChatServer, serving


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A chat completions endpoint on loopback."""
    with serving() as server:
        yield server
