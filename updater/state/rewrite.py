"""Parquet files without the rows of some users: rows are taken out and the rest is rewritten, never hidden."""

from hashlib import file_digest
from io import BufferedIOBase, BytesIO
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from updater.domain.columns import JOIN_KEY
from updater.domain.shards import parts_of
from updater.errors import DataRefusedError
from updater.lake import partitions
from updater.lake.erased_rows import Among, rows_of_users, without_users
from updater.lake.schemas import REJECTED_SCHEMA

_CONTENT_DIGITS = 16


def read_without(path: str, among: Among) -> tuple[pa.Table, int]:
    """As `without_users`, of a Parquet file; only its column of users is read if they have no row in it.

    Raises:
        DataRefusedError: the file is no Parquet file.
    """
    fs, inner = partitions.filesystem(path)
    with fs.open(inner, "rb") as file:
        return rows_without(file, path, among)


def rows_without(file: IO[bytes], path: str, among: Among) -> tuple[pa.Table, int]:
    """The same of an open file, which errors call `path`."""
    try:
        parquet = pq.ParquetFile(file)
        names = [name for name in (JOIN_KEY, *REJECTED_SCHEMA.names) if name in parquet.schema_arrow.names]
        keys = parquet.read(columns=names)
        if not pc.any(rows_of_users(keys, among)).as_py():
            return keys, 0
        table = parquet.read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataRefusedError(
            f"{path} is not a readable Parquet file ({reason}), so nobody can be erased from it; "
            "restore it or remove it, and run again."
        ) from error
    return without_users(table.cast(_as_written(table.schema)), among)


def events_name(source_digest: str, modality_fingerprint: str, content: bytes | BufferedIOBase | None = None) -> str:
    """Name of an event file: the digests of what it was made from, and of its `content` if erased users had rows."""
    mark = ""
    if content is not None:
        file = BytesIO(content) if isinstance(content, bytes) else content
        mark = f"-{file_digest(file, 'sha256').hexdigest()[:_CONTENT_DIGITS]}"
    return f"{source_digest}-{modality_fingerprint[:8]}{mark}.parquet"


def replacing(file: str, content: bytes) -> str:
    """Name of the event file with the `content` that is left of `file`, in whose place it comes."""
    shard, source_digest, modality_fingerprint = parts_of(file)
    return f"{shard}{events_name(source_digest, modality_fingerprint, content)}"


def _as_written(schema: pa.Schema) -> pa.Schema:
    """The schema for the bytes of a file that never held the removed rows: reading renames the items of lists."""
    for position, field in enumerate(schema):
        if pa.types.is_list(field.type):
            schema = schema.set(position, field.with_type(pa.list_(field.type.value_type)))
    return schema
