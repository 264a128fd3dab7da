"""Tables that may be larger than the memory: what exceeds a limit lies in a file, and is read as it is needed."""

from bisect import bisect_right
from contextlib import ExitStack
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

SORTED_BY = ("bucket", "user_id", "event_time", "event_id")
BATCH_ROWS = 65_536
MOST_PARTS = 256
"""Files that are open at a time; beyond so many times the memory the parts outgrow it."""
SAMPLED_ROWS = 65_536


class Spool:
    """Rows in the order in which they came: in memory, or from `memory_bytes` on in a file of the temporary directory.

    The file has no name once its rows are read; the system removes it with the last table that shows it.
    """

    def __init__(self, schema: pa.Schema, memory_bytes: int) -> None:
        self._schema = schema
        self._memory_bytes = memory_bytes
        self._held: list[pa.Table] = []
        self._num_bytes = 0
        self._file: Any = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def on_disk(self) -> bool:
        """True once the rows have outgrown the memory that they may take."""
        return self._file is not None

    def add(self, table: pa.Table | pa.RecordBatch) -> None:
        """Append rows of the spool's schema."""
        if not table.num_rows:
            return
        if self._writer is not None:
            self._writer.write(table)
            return
        self._held.append(table)
        self._num_bytes += table.nbytes
        if self._num_bytes > self._memory_bytes:
            self._file = NamedTemporaryFile(prefix="updater-landing-", suffix=".arrow")  # noqa: SIM115 - see __exit__
            self._writer = pa.ipc.new_file(self._file, self._schema)
            for held in self._held:
                self._writer.write(held)
            self._held = []

    def table(self) -> pa.Table:
        """All rows; called once, at the end."""
        if self._writer is None:
            return pa.concat_tables(self._held) if self._held else self._schema.empty_table()
        self._writer.close()
        self._file.flush()
        return pa.ipc.open_file(pa.memory_map(self._file.name)).read_all()


def last_of_each_event(table: pa.Table) -> pa.Table:
    """Of the rows with one user_id and event_id the last."""
    numbered = table.select(["user_id", "event_id"]).append_column("row", pa.array(range(table.num_rows), pa.int64()))
    last = numbered.group_by(["user_id", "event_id"]).aggregate([("row", "max")])["row_max"]
    return table if len(last) == table.num_rows else table.take(last)


def in_order(table: pa.Table) -> pa.Table:
    """`last_of_each_event`, sorted by bucket, user, time and id."""
    return last_of_each_event(table).sort_by([(name, "ascending") for name in SORTED_BY])


def in_order_on_disk(table: pa.Table, memory_bytes: int) -> pa.Table:
    """`in_order` of a table that is larger than the memory: users are dealt out to parts, which are sorted in turn.

    A part has all rows of its users and about half of `memory_bytes`, and follows the part before in the order.
    """
    bounds = _bounds(table, min(MOST_PARTS, 1 + 2 * table.nbytes // max(memory_bytes, 1)))
    with ExitStack() as stack:
        parts = [stack.enter_context(Spool(table.schema, 0)) for _ in range(len(bounds) + 1)]
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            part_of_row = _parts(batch, bounds)
            for part in np.unique(part_of_row):
                parts[part].add(pa.Table.from_batches([batch]).filter(pa.array(part_of_row == part)))
        made = stack.enter_context(Spool(table.schema, 0))
        for spool in parts:
            made.add(in_order(spool.table()))
        return made.table()


def _bounds(table: pa.Table, num_parts: int) -> list[tuple[int, str]]:
    """Buckets and users at which parts after the first begin, so that all have about as many rows, by a sample."""
    rows = np.unique(np.linspace(0, table.num_rows - 1, SAMPLED_ROWS, dtype=np.int64))
    sample = table.select(["bucket", "user_id"]).take(pa.array(rows))
    keys = sorted(zip(sample["bucket"].to_pylist(), sample["user_id"].to_pylist(), strict=True))
    return sorted({keys[part * len(keys) // num_parts] for part in range(1, num_parts)})


def _parts(batch: pa.RecordBatch, bounds: list[tuple[int, str]]) -> npt.NDArray[np.int64]:
    """The part of each row."""
    users = pc.dictionary_encode(batch["user_id"])
    rows = users.indices.to_numpy()
    _, first = np.unique(rows, return_index=True)
    buckets = batch["bucket"].to_numpy()[first]
    # The order of code points, in which Python compares, is that of the bytes, in which Arrow does.
    keys = zip(buckets.tolist(), users.dictionary.to_pylist(), strict=True)
    part_of_row: npt.NDArray[np.int64] = np.array([bisect_right(bounds, key) for key in keys], np.int64)[rows]
    return part_of_row
