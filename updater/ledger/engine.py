"""Connections to the ledger."""

from sqlalchemy import Engine

from updater.database import (
    LEDGER,
    LOCK_TIMEOUT_SECONDS,
    create_database_engine,
    is_sqlite,
    parse_url,
    shown,
    writing,
)

__all__ = ["LOCK_TIMEOUT_SECONDS", "create_ledger_engine", "is_sqlite", "parse_url", "shown", "writing"]


def create_ledger_engine(url: str, *, read_only: bool = False) -> Engine:
    """Engine of the ledger at `url`; nothing is connected yet. See `create_database_engine`.

    Raises:
        ConfigError: `url` is no SQLite file or PostgreSQL database, or the PostgreSQL driver is not installed.
    """
    return create_database_engine(url, LEDGER, read_only=read_only)
