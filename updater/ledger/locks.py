"""Locks in a PostgreSQL ledger that outlive a transaction: the server takes them from a session that ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps

from sqlalchemy import Engine, func, select, text

from updater.errors import ServiceUnavailableError
from updater.ledger.engine import shown

_SESSION = {
    # However long somebody waits or works, and whatever the server allows others.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    # Who is killed while waiting leaves the line, and a machine that vanishes loses the lock in minutes.
    # Firewalls never see an idle connection.
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
}
_CONFIGURE = text(
    "SELECT set_config(name, CAST(:wanted AS json) ->> name, false) FROM pg_settings WHERE name = ANY(:names)"
)


@contextmanager
def advisory_lock(engine: Engine, key: int, *, shared: bool) -> Iterator[None]:
    """Wait for an advisory lock, and hold it on a connection of its own until the block ends.

    Args:
        engine: of a PostgreSQL database.
        key: the lock's number, of 64 bits.
        shared: together with others who share it, or alone.

    Raises:
        ServiceUnavailableError: the database does not answer, or the lock was lost before the block ended.
    """
    take, release = (
        (func.pg_advisory_lock_shared, func.pg_advisory_unlock_shared)
        if shared
        else (func.pg_advisory_lock, func.pg_advisory_unlock)
    )
    # No transaction stays open meanwhile: it would keep the server from cleaning its tables.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(_CONFIGURE, {"wanted": dumps(_SESSION), "names": list(_SESSION)})
        connection.execute(select(take(key)))
        yield
        if not connection.scalar(select(release(key))):
            raise ServiceUnavailableError(
                f"A lock in the ledger at {shown(engine.url)} was lost while it was held; run the same command again, "
                "and connect to the server itself or to a pooler that keeps a session for each client."
            )
