"""Tables that may be larger than the memory: what exceeds a limit lies in a file, and is read as it is needed."""

from tempfile import NamedTemporaryFile, TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

OUTPUT_ROWS = 65_536
LEAST_SORT_BYTES = 64 << 20
"""DuckDB sorts with no less."""


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
    """Of the rows with one user_id and event_id the one with the largest `row`, without that column."""
    last = table.select(["user_id", "event_id", "row"]).group_by(["user_id", "event_id"]).aggregate([("row", "max")])
    if last.num_rows < table.num_rows:
        # The rows are numbered from 0 in their order.
        table = table.take(last["row_max"])
    return table.drop_columns(["row"])


def sort_on_disk(table: pa.Table, order: list[str], memory_bytes: int) -> pa.Table:
    """`last_of_each_event`, sorted by the columns `order`, of a table that is larger than the memory."""
    schema = table.drop_columns(["row"]).schema
    with (
        TemporaryDirectory(prefix="updater-landing-") as directory,
        duckdb.connect(config={"threads": 1, "temp_directory": directory}) as connection,
        Spool(schema, 0) as spool,
    ):
        connection.execute(f"set memory_limit = '{max(memory_bytes, LEAST_SORT_BYTES)}B'")
        connection.execute("set enable_progress_bar = false")
        connection.register("landed", table)
        found = connection.execute(
            f"""select * exclude (row) from landed
            where row in (select max(row) from landed group by user_id, event_id)
            order by {", ".join(order)}"""
        )
        for batch in found.to_arrow_reader(OUTPUT_ROWS):
            spool.add(pa.Table.from_batches([batch]).cast(schema))
        return spool.table()
