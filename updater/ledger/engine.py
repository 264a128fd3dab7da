"""Connections to the ledger: SQLite for one machine, PostgreSQL for many."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError

from updater.errors import ConfigError, ServiceUnavailableError

LOCK_TIMEOUT_SECONDS = 30.0
"""How long a SQLite connection waits for another one's write."""

_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"})
_WRITES = "ledger_writes"


def create_ledger_engine(url: str) -> Engine:
    """Engine of the ledger at `url`; nothing is connected yet.

    Connections are not kept between transactions: they are few, and a task of Airflow is a forked process.
    A failing connection raises ServiceUnavailableError, without the password.

    Raises:
        ConfigError: `url` is no SQLite file or PostgreSQL database, or the PostgreSQL driver is not installed.
    """
    parsed = parse_url(url)
    try:
        if is_sqlite(parsed):
            engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": LOCK_TIMEOUT_SECONDS})
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            # The compare-and-swap reads what others have just committed; a server may default to stricter isolation.
            engine = create_engine(parsed, poolclass=NullPool, isolation_level="READ COMMITTED")
    except ModuleNotFoundError as error:
        raise ConfigError(f"ledger.url needs the package {error.name!r}; install updater[postgres].") from error
    event.listen(engine, "handle_error", _explain)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed when the block ends, rolled back on an error.

    SQLite takes its write lock at once, because a transaction that reads first and writes later cannot wait for it.
    """
    with engine.execution_options(**{_WRITES: True}).begin() as connection:
        yield connection


def parse_url(url: str) -> URL:
    """`url`, checked to name a SQLite file or a PostgreSQL database. Raises ConfigError if it does not."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(f"ledger.url is no database URL; {_EXAMPLES}.") from None
    if parsed.drivername not in _DRIVERS:
        raise ConfigError(f"ledger.url has the scheme {parsed.drivername!r}; {_EXAMPLES}.")
    if is_sqlite(parsed) and parsed.database in (None, "", ":memory:"):
        raise ConfigError(f"ledger.url names no file, and a ledger must outlive its process; {_EXAMPLES}.")
    return parsed


def shown(url: URL) -> str:
    """`url` for people: no password, and no query, which may hold another one."""
    return url.set(query={}).render_as_string(hide_password=True)


def is_sqlite(url: URL) -> bool:
    """True for a SQLite file, False for PostgreSQL."""
    return url.get_backend_name() == "sqlite"


_EXAMPLES = "use sqlite:////path/ledger.db or postgresql+psycopg://user@host/database"


def _configure_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver would otherwise begin transactions itself, and only before some statements.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _explain(context: ExceptionContext) -> None:
    # SQLite reports a file that is no database as a plain DatabaseError; its subclasses are mistakes of ours.
    if type(context.sqlalchemy_exception) not in (OperationalError, InterfaceError, DatabaseError):
        return
    where = shown(context.engine.url) if context.engine else "ledger.url"
    reason = str(context.original_exception).strip().partition("\n")[0]
    raise ServiceUnavailableError(
        f"The ledger at {where} does not answer ({reason}); check that it runs and that ledger.url is right."
    ) from context.original_exception
