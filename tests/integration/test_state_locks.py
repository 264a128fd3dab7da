"""Locks on a state hold between processes, wait, and go with whoever holds them: on files, and in PostgreSQL."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, Literal

import pytest
from sqlalchemy import event, text

from tests.conftest import SettingsFactory
from tests.s3_server import environment
from updater.errors import ServiceUnavailableError
from updater.ledger import upgrade
from updater.ledger.engine import create_ledger_engine
from updater.runtime.deployment import Context, open_context
from updater.runtime.state_lock import Lock, StateLock

How = Literal["shared", "exclusive"]
KINDS = ["directory", "bucket", "server"]
SOON, LATER = 0.3, 60.0
HOLD = """
import sys
from updater.runtime.deployment import open_context
from updater.runtime.state_lock import Lock, StateLock
from updater.settings import load_settings
lock = StateLock(open_context(load_settings(sys.argv[1], environ={})), Lock.REWRITING)
print("asks", flush=True)
with getattr(lock, sys.argv[2])():
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=KINDS)
def context(request: pytest.FixtureRequest, make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch) -> Context:
    """With a ledger in a file and a state in a directory or a bucket, or with a ledger on a server."""
    tables: dict[str, Any] = {}
    if request.param == "server":
        tables = {"ledger": {"url": request.getfixturevalue("postgres_url")}}
    elif request.param == "bucket":
        tables = {
            "paths": {"state": "s3://bucket/state"},
            "ledger": {"url": "sqlite:///ledger.db"},
            "online_store": {"path": "online.db"},
        }
        for name, value in environment(1).items():
            monkeypatch.setenv(name, value)
    settings = make_settings(**tables)
    upgrade(settings.ledger.url)
    return open_context(settings)


class Taker:
    """A thread that takes a lock, until it is told to let go."""

    def __init__(self, context: Context, how: How, lock: Lock = Lock.REWRITING) -> None:
        self.has_it, self._let_go = Event(), Event()
        self._thread = Thread(target=self._run, args=(context, how, lock), daemon=True)
        self._thread.start()

    def _run(self, context: Context, how: How, lock: Lock) -> None:
        with getattr(StateLock(context, lock), how)():
            self.has_it.set()
            self._let_go.wait(LATER)

    def let_go(self) -> None:
        """As soon as it has it."""
        self._let_go.set()
        self._thread.join(LATER)
        assert not self._thread.is_alive()


@contextmanager
def process(context: Context, how: How) -> Iterator["subprocess.Popen[str]"]:
    """A process that has asked for a lock."""
    command = [sys.executable, "-c", HOLD, str(context.settings.source), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "asks\n"
            yield child
        finally:
            child.kill()


def test_one_holds_it_alone_or_many_together(context: Context) -> None:
    first, second = Taker(context, "shared"), Taker(context, "shared")
    assert first.has_it.wait(LATER) and second.has_it.wait(LATER)
    alone = Taker(context, "exclusive")
    assert not alone.has_it.wait(SOON)
    first.let_go()
    assert not alone.has_it.wait(SOON)
    second.let_go()
    assert alone.has_it.wait(LATER)
    others = [Taker(context, "shared"), Taker(context, "shared")]
    assert not any(other.has_it.wait(SOON) for other in others)
    for lock in (Lock.ONLINE, Lock.PROFILES):
        Taker(context, "exclusive", lock).let_go()
    alone.let_go()
    assert others[0].has_it.wait(LATER)
    others[0].let_go()
    others[1].let_go()


def test_an_error_lets_go(context: Context) -> None:
    with pytest.raises(KeyError), StateLock(context, Lock.REWRITING).exclusive():
        raise KeyError
    Taker(context, "exclusive").let_go()


@pytest.mark.parametrize("context", ["directory", "server"], indirect=True)
def test_a_killed_process_holds_nothing(context: Context) -> None:
    with process(context, "exclusive") as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "holds\n"
        waiting = Taker(context, "shared")
        assert not waiting.has_it.wait(SOON)
        holder.send_signal(signal.SIGKILL)
        assert waiting.has_it.wait(LATER)
        # Killed in the line, it keeps nobody there.
        with process(context, "exclusive") as next_in_line:
            next_in_line.send_signal(signal.SIGKILL)
            next_in_line.wait()
        Taker(context, "shared").let_go()
        waiting.let_go()


@pytest.mark.parametrize("context", ["server"], indirect=True)
def test_limits_of_the_server_do_not_count_for_a_lock(context: Context) -> None:
    engine = create_ledger_engine(context.settings.ledger.url)
    database = engine.url.database
    with engine.begin() as connection:
        for name in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
            connection.execute(text(f'ALTER DATABASE "{database}" SET {name} = 200'))
    holder = Taker(context, "exclusive")
    assert holder.has_it.wait(LATER)
    waiting = Taker(context, "exclusive")
    assert not waiting.has_it.wait(3 * SOON)
    holder.let_go()
    waiting.let_go()


@pytest.mark.parametrize("context", ["server"], indirect=True)
def test_a_lost_lock_is_said(context: Context) -> None:
    opened: list[Any] = []
    event.listen(context.ledger._engine, "connect", lambda connection, _: opened.append(connection))
    lock = StateLock(context, Lock.REWRITING)
    with pytest.raises(ServiceUnavailableError, match="does not answer"), lock.exclusive():
        query = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        with create_ledger_engine(context.settings.ledger.url).connect() as connection:
            assert connection.scalars(query).all() == [True]
    # As a pooler does that gives the session to the next client.
    with pytest.raises(ServiceUnavailableError, match="a pooler that keeps a session"), lock.shared():
        opened[-1].execute("SELECT pg_advisory_unlock_all()")
