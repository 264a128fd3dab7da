"""The ledger's schema over time: made and migrated by Alembic, checked whenever a ledger is opened."""

import sqlite3
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, func, select

from updater.errors import ConfigError
from updater.ledger.engine import create_ledger_engine, is_sqlite, parse_url, shown, writing
from updater.ledger.records import FormerFiles

VERSION_TABLE = "ledger_revision"
"""Not Alembic's default name, because Airflow's metadata may share the database."""

_LOCK = 0x6C6564676572
"""PostgreSQL advisory lock of a migration: "ledger" in ASCII."""


def upgrade(url: str, former: FormerFiles | None = None) -> None:
    """Create the ledger at `url`, or migrate it to the newest schema, in one transaction.

    Several processes may do so at once; the first migrates, the others find it done.

    Args:
        url: The database.
        former: What a ledger that is older than revision 0005 takes over with the migration; a newer one nothing.

    Raises:
        ConfigError: the ledger was written by a newer release, or its directory cannot be made.
        ServiceUnavailableError: the database does not answer.
    """
    parsed = parse_url(url)
    if is_sqlite(parsed):
        _make_directory(parsed)
    engine = create_ledger_engine(url)
    with writing(engine) as connection:
        if not is_sqlite(parsed):
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        revision = current_revision(connection)
        if revision is not None:
            _refuse_unknown(engine, revision)
        command.upgrade(_config(connection=connection, former=former or FormerFiles()), "head")
    if is_sqlite(parsed):
        _switch_to_wal(engine)


def check_revision(engine: Engine) -> None:
    """Make sure that this release can use the ledger of `engine`; nothing is created.

    Raises:
        ConfigError: the ledger is not initialized, not migrated, or written by a newer release.
        ServiceUnavailableError: the database does not answer.
    """
    revision = None
    # Connecting to a SQLite file that is not there would make it.
    if not is_sqlite(engine.url) or Path(str(engine.url.database)).exists():
        with engine.connect() as connection:
            revision = current_revision(connection)
    if revision is None:
        raise ConfigError(f"The ledger at {shown(engine.url)} is not initialized; run `updater init`.")
    _refuse_unknown(engine, revision)
    if revision != _scripts().get_current_head():
        raise ConfigError(
            f"The ledger at {shown(engine.url)} has the older revision {revision!r}; run `updater init` to migrate it."
        )


def current_revision(connection: Connection) -> str | None:
    """Revision of the ledger's schema; None if there is no ledger."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _refuse_unknown(engine: Engine, revision: str) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if revision not in known:
        raise ConfigError(
            f"The ledger at {shown(engine.url)} has revision {revision!r}, which this release does not know; "
            "install the release of updater that wrote it, or a newer one."
        )


@cache
def _scripts() -> ScriptDirectory:
    # Reading them takes as long as all else that opening a ledger does.
    return ScriptDirectory.from_config(_config())


def _config(**attributes: Any) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("script_location", "updater.ledger:migrations")
    return config


def _switch_to_wal(engine: Engine) -> None:
    """Let readers read while somebody writes. SQLite keeps the mode in the file."""
    # Unlike a write, the switch does not wait for a lock; whoever holds it is another upgrade, which switches as well.
    with closing(engine.raw_connection()) as connection, suppress(sqlite3.OperationalError):
        connection.cursor().execute("PRAGMA journal_mode = WAL")


def _make_directory(url: URL) -> None:
    directory = Path(str(url.database)).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The ledger's directory {directory} cannot be made ({error.strerror}); change ledger.url."
        ) from error
