"""Connections to the databases that `updater` and Feast share with others: SQLite for one machine, PostgreSQL for many.

What is wrong with a connection is said in one sentence that names the database and the key of the config. A server's
database has to be in UTF-8: one in SQL_ASCII gives names as bytes, and one in LATIN1 takes only some people's names.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError, ProgrammingError

from updater.errors import ConfigError, ServiceUnavailableError

LOCK_TIMEOUT_SECONDS = 30.0
"""How long a SQLite connection waits for another one's write."""

_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"})
_WRITES = "database_writes"


@dataclass(frozen=True)
class Purpose:
    """What a database is for, as messages say it."""

    name: str
    key: str
    """Key of the config that names it."""


LEDGER = Purpose("ledger", "ledger.url")
REGISTRY = Purpose("registry", "registry.url")


def create_database_engine(url: str, purpose: Purpose, *, read_only: bool = False) -> Engine:
    """Engine of the database at `url`; nothing is connected yet.

    Connections are not kept between transactions: they are few, and a task of Airflow is a forked process.
    A failing connection raises ServiceUnavailableError, without the password; a database that is not in UTF-8 raises
    ConfigError. With `read_only` the database refuses every statement that would change it.

    Raises:
        ConfigError: `url` is no SQLite file or PostgreSQL database, or the PostgreSQL driver is not installed.
    """
    parsed = parse_url(url, purpose)
    try:
        if is_sqlite(parsed):
            if read_only:
                path = str(parsed.database)
                engine = create_engine(parsed, poolclass=NullPool, creator=lambda: open_to_read(path))
            else:
                engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": LOCK_TIMEOUT_SECONDS})
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            # The compare-and-swap reads what others have just committed; a server may default to stricter isolation.
            # With another client encoding (PGCLIENTENCODING, or SQL_ASCII) the driver gives bytes for text.
            engine = create_engine(
                parsed,
                poolclass=NullPool,
                isolation_level="READ COMMITTED",
                connect_args={"client_encoding": "utf8"},
                execution_options={"postgresql_readonly": read_only},
            )
            where = f"The {purpose.name} at {shown(parsed)}"
            event.listen(engine, "connect", lambda connection, _: check_encoding(connection, where))
    except ModuleNotFoundError as error:
        raise ConfigError(f"{purpose.key} needs the package {error.name!r}; install updater[postgres].") from error
    event.listen(engine, "handle_error", lambda context: _explain(context, purpose))
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed when the block ends, rolled back on an error.

    SQLite takes its write lock at once, because a transaction that reads first and writes later cannot wait for it.
    """
    with engine.execution_options(**{_WRITES: True}).begin() as connection:
        yield connection


def parse_url(url: str, purpose: Purpose = LEDGER) -> URL:
    """`url`, checked to name a SQLite file or a PostgreSQL database. Raises ConfigError if it does not."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(f"{purpose.key} is not a database URL; {_examples(purpose)}.") from None
    if parsed.drivername not in _DRIVERS:
        raise ConfigError(f"{purpose.key} has the scheme {parsed.drivername!r}; {_examples(purpose)}.")
    if is_sqlite(parsed) and parsed.database in (None, "", ":memory:"):
        raise ConfigError(
            f"{purpose.key} names no file, and a {purpose.name} must outlive its process; {_examples(purpose)}."
        )
    return parsed


def check_encoding(connection: Any, where: str) -> None:
    """Make sure that the database of a psycopg connection is in UTF-8; the server reported it when it connected.

    Args:
        connection: of psycopg.
        where: the beginning of the message: what lies there, and where.

    Raises:
        ConfigError: it has another encoding.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigError(
            f"{where} is in a database with the encoding {encoding}, which does not keep every name as it is; use one "
            "in UTF-8, made with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )


def shown(url: URL) -> str:
    """`url` for people: no password, and no query, which may hold another one."""
    return url.set(query={}).render_as_string(hide_password=True)


def is_sqlite(url: URL) -> bool:
    """True for a SQLite file, False for PostgreSQL."""
    return url.get_backend_name() == "sqlite"


def open_to_read(path: str) -> sqlite3.Connection:
    """A connection to the SQLite file at `path` that refuses to write. The file may lie where nobody can write; then
    the connection is one to close soon, because it does not see what others write there.
    """
    connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_SECONDS)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if can_write_beside(path) or Path(f"{path}-wal").exists():
            raise
        # To read a file in WAL mode SQLite puts files of its own beside it, and here it may not. While there are none
        # nobody is writing, so the file can be taken as it is.
        connection = sqlite3.connect(f"file:{quote(path)}?immutable=1", timeout=LOCK_TIMEOUT_SECONDS, uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection


def can_write_beside(path: str) -> bool:
    """False if this process may not make files in the directory of `path`, which is there."""
    directory = Path(path).parent
    return os.access(directory, os.W_OK) or not directory.exists()


def is_missing_table(error: BaseException | None) -> bool:
    """True if a driver says that a table or column is not there, which is no fault of the connection."""
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith(("no such table", "no such column"))
    return getattr(error, "sqlstate", None) in ("42P01", "42703")


def _examples(purpose: Purpose) -> str:
    return f"use sqlite:////path/{purpose.name}.db or postgresql+psycopg://user@host/database"


def _configure_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver would otherwise begin transactions itself, and only before some statements.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _explain(context: ExceptionContext, purpose: Purpose) -> None:
    kind, cause = type(context.sqlalchemy_exception), context.original_exception
    # SQLite reports a file that is no database as a plain DatabaseError; its subclasses are mistakes of ours.
    if kind not in (OperationalError, InterfaceError, DatabaseError, ProgrammingError):
        return
    where = shown(context.engine.url) if context.engine else purpose.key
    reason = str(cause).strip().partition("\n")[0]
    if is_missing_table(cause):
        raise ConfigError(
            f"The {purpose.name} at {where} is not complete ({reason}); make it with `updater init`."
        ) from cause
    if kind is ProgrammingError:
        return
    raise ServiceUnavailableError(
        f"The {purpose.name} at {where} does not answer ({reason}); check that it runs and that {purpose.key} is right."
    ) from cause
