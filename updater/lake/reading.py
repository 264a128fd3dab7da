"""The rows of a lake file, some at a time, and a digest of its bytes: a file may be larger than the memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import repeat
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from updater.domain.declared.modality import Modality
from updater.errors import DataRefusedError
from updater.lake import partitions, rows
from updater.lake.schemas import KEYS, check_schema

BATCH_ROWS = 65_536
"""Rows that are checked at a time."""
BLOCK_BYTES = 1 << 20
REMOTE_BYTES = 32 << 20
"""A larger file of an object store is read from a copy on the disk."""
BEYOND = 2**63 - 1
"""An instant that no calendar has, in any unit."""


class SourceDigest:
    """BLAKE2b of the bytes of a partition's files, in the order of their names, and their number."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.num_bytes = 0

    def update(self, block: bytes) -> None:
        """Take in the next bytes."""
        self._hash.update(block)
        self.num_bytes += len(block)

    def hexdigest(self) -> str:
        """The digest of what was taken in, 32 hexadecimal digits."""
        return self._hash.hexdigest()


def read_batches(path: str, modality: Modality, digest: SourceDigest) -> Iterator[pa.Table]:
    """The columns that the contract and `modality` name, `plain`, at most `BATCH_ROWS` rows at a time.

    Raises:
        DataRefusedError: the file is unreadable or its schema is wrong.
    """
    try:
        with opened(path, digest) as file:
            yield from _batches(file, modality, path)
    # Beside its own errors Arrow raises ValueError for names that are not UTF-8.
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataRefusedError(
            f"{path} is not a readable Parquet file ({first_line(error)}); land the day again."
        ) from None


@contextmanager
def opened(path: str, digest: SourceDigest) -> Iterator[IO[bytes]]:
    """A file of any filesystem whose bytes went into `digest` before the block; read once from an object store."""
    fs, inner = partitions.filesystem(path)
    with fs.open(inner, "rb") as source:
        if partitions.is_local(path):
            while block := source.read(BLOCK_BYTES):
                digest.update(block)
            source.seek(0)
            yield source
            return
        with SpooledTemporaryFile(max_size=REMOTE_BYTES) as copy:
            while block := source.read(BLOCK_BYTES):
                digest.update(block)
                copy.write(block)
            copy.seek(0)
            yield copy


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _batches(file: Any, modality: Modality, path: str) -> Iterator[pa.Table]:
    parquet = pq.ParquetFile(file, buffer_size=BLOCK_BYTES, pre_buffer=False, coerce_int96_timestamp_unit="us")
    check_schema(parquet.schema_arrow, modality, path)
    wanted = {*KEYS, "op", *modality.columns}
    names = [name for name in parquet.schema_arrow.names if name in wanted]
    schema = parquet.schema
    leaves = (schema.column(index) for index in range(len(schema)))
    int96 = [leaf.path for leaf in leaves if leaf.physical_type == "INT96" and leaf.path in names]
    coarse: Iterator[Any] = repeat(None)
    if int96:
        # Julian days reach further than microseconds, which would wrap around into the calendar.
        again = pq.ParquetFile(file, buffer_size=BLOCK_BYTES, pre_buffer=False, coerce_int96_timestamp_unit="ms")
        coarse = again.iter_batches(BATCH_ROWS, columns=int96, use_threads=False)
    for batch, instants in zip(
        parquet.iter_batches(BATCH_ROWS, columns=names, use_threads=not int96), coarse, strict=False
    ):
        table = pa.Table.from_batches([batch])
        for name in int96:
            table = table.set_column(table.column_names.index(name), name, _not_wrapped(batch[name], instants[name]))
        yield rows.plain(table)


def _not_wrapped(microseconds: pa.Array, milliseconds: pa.Array) -> pa.Array:
    number = milliseconds.cast(pa.int64())
    first, last = rows.FIRST_SECOND * 1000, rows.LAST_SECOND * 1000 - 1
    inside = pc.and_(pc.greater_equal(number, first), pc.less_equal(number, last))
    return pc.if_else(inside, microseconds, pa.scalar(BEYOND, pa.int64()).cast(microseconds.type))
