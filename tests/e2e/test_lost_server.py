"""An online store that goes away in the middle of a window and comes back."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from tests.deployment import PROFILES
from tests.e2e.saved_state import SavedState
from tests.integration.store_helpers import store_options
from tests.strategies import TOUR

pytestmark = [pytest.mark.slow, pytest.mark.services]

CLOCK = "1717200000"


class Relay:
    """Passes bytes on to a server, until it has passed on `allowed`; then it is as good as gone."""

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.allowed: float = float("inf")
        self.passed = 0
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self.passed >= self.allowed:
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
                Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(256):
                if counted and self.passed + len(data) > self.allowed:
                    self.passed = int(self.allowed)
                    break
                self.passed += len(data) if counted else 0
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    host, port = store_options("redis", request)["connection_string"].split(",")[0].split(":")
    relay = Relay(host, int(port))
    yield relay
    relay.close()


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_server_that_goes_away_and_comes_back(
    tmp_path: Path, request: pytest.FixtureRequest, relay: Relay, share: float
) -> None:
    options = store_options("redis", request)
    options["connection_string"] = f"127.0.0.1:{relay.port},{options['connection_string'].split(',')[1]}"
    state = SavedState(tmp_path, CLOCK, buffer={"num_buckets": 2}, online_store=options, **PROFILES)
    TOUR.land(state.settings.paths.lake)
    assert state.call("init").exit_code == 0
    before = relay.passed
    assert state.call("run", "--ds", str(TOUR.windows[0])).exit_code == 0
    needed = relay.passed - before
    assert needed > 1_000

    # The second window needs about half as much.
    relay.allowed = relay.passed + share * needed
    failed = state.call("run", "--ds", str(TOUR.windows[1]))
    assert relay.passed == int(relay.allowed)
    assert (failed.exit_code, failed.stdout) == (11, "")
    assert failed.stderr.startswith("updater: ") and "Traceback" not in failed.stderr

    relay.allowed = float("inf")
    done = state.call("run", "--ds", str(TOUR.windows[1]))
    assert (done.exit_code, done.stderr) == (0, "")
    check = state.call("state", "verify", "--all", "--json")
    assert (check.exit_code, json.loads(check.stdout)["differences"]) == (0, [])
    assert json.loads(check.stdout)["online_values"] > 0
