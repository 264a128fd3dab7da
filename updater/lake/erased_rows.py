"""Rows without those of some users: taken out of a table, never hidden."""

import json
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.columns import JOIN_KEY
from updater.lake.schemas import REJECTED_SCHEMA

Among = Callable[[Iterable[str]], set[str]]
"""Those of some users whose rows have to go."""


def without_users(table: pa.Table, among: Among) -> tuple[pa.Table, int]:
    """`table` without the rows of some users, and how many rows those were."""
    theirs = rows_of_users(table, among)
    num_rows = pc.sum(theirs).as_py() or 0
    return (table.filter(pc.invert(theirs)).combine_chunks() if num_rows else table), num_rows


def rows_of_users(table: pa.Table, among: Among) -> pa.Array:
    """For each row of a table of events, features or rejected rows whether it is one of the users'."""
    if JOIN_KEY in table.column_names:
        users = table[JOIN_KEY].combine_chunks().cast(pa.string())
    elif table.column_names == REJECTED_SCHEMA.names:
        users = pa.array([_user_of(row) for row in table["row"].to_pylist()], pa.string())
    else:
        return pa.repeat(False, table.num_rows)
    theirs = among(user for user in pc.unique(users).to_pylist() if user is not None)
    return pc.is_in(users, value_set=pa.array(sorted(theirs), pa.string()))


def _user_of(row: str) -> str | None:
    user = json.loads(row).get(JOIN_KEY)
    return None if user is None else str(user)
