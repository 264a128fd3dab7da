"""Parquet files without the rows of some users: rows are taken out and the rest is written anew, never hidden."""

import json
from collections.abc import Callable, Iterable
from hashlib import file_digest
from io import BufferedIOBase, BytesIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from updater.domain.columns import JOIN_KEY
from updater.errors import DataRefusedError
from updater.lake import partitions
from updater.lake.schemas import REJECTED_SCHEMA

Among = Callable[[Iterable[str]], set[str]]
"""Those of some users whose rows have to go."""
_CONTENT_DIGITS = 16


def without_users(table: pa.Table, among: Among) -> tuple[pa.Table, int]:
    """`table` without the rows of some users, and how many rows those were."""
    theirs = _rows_of(table, among)
    num_rows = pc.sum(theirs).as_py() or 0
    return (table.filter(pc.invert(theirs)).combine_chunks() if num_rows else table), num_rows


def read_without(path: str, among: Among) -> tuple[pa.Table, int]:
    """As `without_users`, of a Parquet file; only its column of users is read if they have no row in it.

    Raises:
        DataRefusedError: the file is no Parquet file.
    """
    fs, inner = partitions.filesystem(path)
    with fs.open(inner, "rb") as file:
        try:
            parquet = pq.ParquetFile(file)
            names = [name for name in (JOIN_KEY, *REJECTED_SCHEMA.names) if name in parquet.schema_arrow.names]
            keys = parquet.read(columns=names)
            if not pc.any(_rows_of(keys, among)).as_py():
                return keys, 0
            table = parquet.read()
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataRefusedError(
                f"{path} is not a readable Parquet file ({reason}), so nobody can be erased from it; "
                "restore it or remove it, and run again."
            ) from error
        return without_users(table.cast(_as_written(table.schema)), among)


def events_name(source_digest: str, declaration: str, content: bytes | BufferedIOBase | None = None) -> str:
    """Name of an event file: the digests of what it was made from, and of its `content` if erased users had rows."""
    mark = ""
    if content is not None:
        file = BytesIO(content) if isinstance(content, bytes) else content
        mark = f"-{file_digest(file, 'sha256').hexdigest()[:_CONTENT_DIGITS]}"
    return f"{source_digest}-{declaration[:8]}{mark}.parquet"


def _as_written(schema: pa.Schema) -> pa.Schema:
    """The schema for the bytes of a file that never held the removed rows: reading renames the items of lists."""
    for position, field in enumerate(schema):
        if pa.types.is_list(field.type):
            schema = schema.set(position, field.with_type(pa.list_(field.type.value_type)))
    return schema


def _rows_of(table: pa.Table, among: Among) -> pa.Array:
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
