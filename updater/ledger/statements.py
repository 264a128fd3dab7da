"""What several writes to the ledger are made of, each within a transaction of its caller."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from sqlalchemy import Connection, Table, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from updater.errors import ConcurrentUpdateError
from updater.ledger.records import Head, WindowRecord
from updater.ledger.tables import ERASED, HEADS, LIVE_MODEL, WINDOWS

_FORMER_COUNTS = {"changed_cells": "changed_summaries"}
_ERASURE_LOCK = 0x657261736564
"""PostgreSQL advisory lock of what users are erased: "erased" in ASCII."""


def swap_head(connection: Connection, previous: Head | None, new: Head) -> bool:
    """Put `new` in the place of `previous`; False if the head is not `previous` any more."""
    if previous is None:
        return insert_if_absent(connection, HEADS, asdict(new))
    unmoved = and_(
        HEADS.c.bucket == new.bucket,
        HEADS.c.ds == previous.ds,
        HEADS.c.digest == previous.digest,
        HEADS.c.generation == previous.generation,
    )
    return connection.execute(update(HEADS).where(unmoved).values(asdict(new))).rowcount == 1


def check_live(connection: Connection, new: Head) -> None:
    """Raise ConcurrentUpdateError if another version than that of `new` is live; none becomes so until the end."""
    live = connection.scalars(select(LIVE_MODEL.c.version).with_for_update(read=True)).first()
    if live not in (None, new.model_version):
        raise ConcurrentUpdateError(
            f"Model version {live} became live while bucket {new.bucket} was computed with version "
            f"{new.model_version}; run the same command again.",
            cause="promotion",
            ds=new.ds,
            bucket=new.bucket,
        )


def check_erasures(connection: Connection, known: int | None) -> None:
    """Raise ConcurrentUpdateError if other users are erased than the `known` number; None if that does not matter."""
    if known is None:
        return
    lock_erasures(connection, shared=True)
    if connection.scalars(select(func.count()).select_from(ERASED)).one() != known:
        raise ConcurrentUpdateError("Users were erased while this ran; run the same command again.", cause="erasure")


def lock_erasures(connection: Connection, shared: bool) -> None:
    """Until the transaction ends nobody else records an erasure; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        connection.execute(select(lock(_ERASURE_LOCK)))


def read_window(connection: Connection, ds: date, lock: bool = False) -> WindowRecord | None:
    """The stored window of `ds`; with `lock` nobody else changes it until the transaction ends."""
    query = select(WINDOWS).where(WINDOWS.c.ds == ds)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return WindowRecord(**present_names(row)) if row else None


def present_names(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row with its counts under their present names: rows of earlier releases stay as they were written."""
    values = {str(name): value for name, value in row.items()}
    if "counts" in values:
        values["counts"] = {_FORMER_COUNTS.get(name, name): count for name, count in values["counts"].items()}
    return values


def insert_if_absent(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """True if the row was inserted. A concurrent insert of the same key is waited for."""
    statement = _insert(connection, table).values(values).on_conflict_do_nothing(index_elements=table.primary_key)
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def upsert(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Insert a row, or change the one with its key."""
    statement = _insert(connection, table).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=table.primary_key, set_=values))


# SQLAlchemy has no portable insert that meets an existing key, but both dialects have the same one.
def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
