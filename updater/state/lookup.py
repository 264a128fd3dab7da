"""Rows of a few users out of sorted Parquet files: only the row groups that can hold them are read.

The state's files carry each row group's smallest and largest user id. What is read is counted, so that a test can say
what a look-up of twenty users costs.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from updater.domain.columns import JOIN_KEY
from updater.lake import partitions

Only = tuple[str, str | int]
"""A column and the value that a row has to have in it."""


@dataclass
class Lookup:
    """Parquet files whose footers are read once."""

    bytes_read: int = 0
    """Footers, and compressed bytes of the columns that were read."""
    rows_read: int = 0
    """Rows of the row groups that were read."""
    _footers: dict[str, pq.FileMetaData] = field(default_factory=dict)

    def num_rows(self, path: str, only: Only | None = None) -> list[int]:
        """Rows of each row group of a file; 0 for one that cannot hold the wanted value."""
        footer = self._footer(path)
        return [
            footer.row_group(group).num_rows if only is None or self._may_hold(path, group, only) else 0
            for group in range(footer.num_row_groups)
        ]

    def users_of(self, path: str, group: int, only: Only | None = None) -> list[str]:
        """The users of a row group, one per row."""
        columns = [JOIN_KEY, *([only[0]] if only else [])]
        table = self._read(path, [group], columns)
        if only is not None:
            table = table.filter(pc.equal(table[only[0]], only[1]))
        return list(table[JOIN_KEY].to_pylist())

    def users_from(self, path: str, first: str, only: Only) -> Iterator[str]:
        """Users of a file from `first` on, ascending, each once; row groups are read as they are asked for.

        The file's rows with the wanted value are sorted by user.
        """
        last = None
        for group, num_rows in enumerate(self.num_rows(path, only)):
            _, highest = self._users_between(path, group, only)
            if not num_rows or (highest is not None and highest < first):
                continue
            for user in sorted(set(self.users_of(path, group, only))):
                if user >= first and user != last:
                    yield user
                    last = user

    def rows(self, path: str, users: Sequence[str], only: Only | None = None) -> pa.Table:
        """Rows of `users` (sorted) that have the wanted value, by which the file is sorted, and then by user."""
        possible = [group for group, num_rows in enumerate(self.num_rows(path, only)) if num_rows]
        table = self._read(path, [group for group in possible if self._may_hold_any(path, group, users, only)], None)
        if only is not None:
            table = table.filter(pc.equal(table[only[0]], only[1]))
        return table.filter(pc.is_in(table[JOIN_KEY], value_set=pa.array(users, pa.string())))

    def keys(self, path: str, users: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """As `rows`, of few columns, with the place of each row: its `group` and its `row` in that."""
        wanted, tables = pa.array(users, pa.string()), []
        for group in range(self._footer(path).num_row_groups):
            if not self._may_hold_any(path, group, users):
                continue
            table = self._read(path, [group], [JOIN_KEY, *columns])
            rows = pc.indices_nonzero(pc.is_in(table[JOIN_KEY], value_set=wanted)).cast(pa.int64())
            places = {"group": pa.repeat(pa.scalar(group, pa.int64()), len(rows)), "row": rows}
            found = table.take(rows)
            for name, values in places.items():
                found = found.append_column(name, values)
            tables.append(found)
        if tables:
            return pa.concat_tables(tables)
        empty = self._read(path, [], [JOIN_KEY, *columns])
        return empty.append_column("group", pa.array([], pa.int64())).append_column("row", pa.array([], pa.int64()))

    def at(self, path: str, group: int, rows: Sequence[int]) -> pa.Table:
        """The rows at some places of a row group."""
        return self._read(path, [group], None).take(pa.array(rows, pa.int64()))

    def of_value(self, path: str, only: Only) -> pa.Table:
        """All rows that have the wanted value."""
        groups = [group for group, num_rows in enumerate(self.num_rows(path, only)) if num_rows]
        table = self._read(path, groups, None)
        return table.filter(pc.equal(table[only[0]], only[1]))

    def whole(self, path: str) -> pa.Table:
        """The whole file."""
        return self._read(path, list(range(self._footer(path).num_row_groups)), None)

    def _footer(self, path: str) -> pq.FileMetaData:
        if path not in self._footers:
            fs, inner = partitions.filesystem(path)
            with fs.open(inner, "rb") as file, pq.ParquetFile(file) as parquet:
                self._footers[path] = parquet.metadata
            self.bytes_read += self._footers[path].serialized_size
        return self._footers[path]

    def _read(self, path: str, groups: list[int], columns: Sequence[str] | None) -> pa.Table:
        footer = self._footer(path)
        fs, inner = partitions.filesystem(path)
        names = None if columns is None else list(dict.fromkeys(columns))
        with fs.open(inner, "rb") as file, pq.ParquetFile(file, metadata=footer) as parquet:
            table = parquet.read_row_groups(groups, columns=names, use_threads=False)
        self.rows_read += table.num_rows
        for group in groups:
            chunks = [footer.row_group(group).column(i) for i in range(footer.num_columns)]
            self.bytes_read += sum(
                chunk.total_compressed_size
                for chunk in chunks
                if names is None or chunk.path_in_schema.split(".")[0] in names
            )
        return table

    def _bounds(self, path: str, group: int, column: str) -> tuple[Any, Any] | None:
        """Smallest and largest value of a column in a row group; None if the file does not say."""
        found = self._footer(path).row_group(group)
        for position in range(found.num_columns):
            chunk = found.column(position)
            if chunk.path_in_schema == column:
                statistics = chunk.statistics
                if statistics is not None and statistics.has_min_max:
                    return statistics.min, statistics.max
        return None

    def _may_hold(self, path: str, group: int, only: Only) -> bool:
        bounds = self._bounds(path, group, only[0])
        return bounds is None or bool(bounds[0] <= only[1] <= bounds[1])

    def _users_between(self, path: str, group: int, only: Only | None) -> tuple[str | None, str | None]:
        """Smallest and largest user that a row group can hold with the wanted value; None: nobody knows.

        A group that begins or ends with another value shows nothing about its users, but its neighbour does: rows are
        sorted by value and user.
        """
        users = self._bounds(path, group, JOIN_KEY)
        if users is None:
            return None, None
        if only is None or self._is_all(path, group, only):
            return users
        values = self._bounds(path, group, only[0])
        if values is None:
            return None, None
        before = self._bounds(path, group - 1, JOIN_KEY) if self._is_all(path, group - 1, only) else None
        after = self._bounds(path, group + 1, JOIN_KEY) if self._is_all(path, group + 1, only) else None
        return (before[1] if before else None), (after[0] if after else None)

    def _is_all(self, path: str, group: int, only: Only) -> bool:
        """True if all rows of a group have the wanted value."""
        if not 0 <= group < self._footer(path).num_row_groups:
            return False
        return self._bounds(path, group, only[0]) == (only[1], only[1])

    def _may_hold_any(self, path: str, group: int, users: Sequence[str], only: Only | None = None) -> bool:
        lowest, highest = self._users_between(path, group, only)
        position = 0 if lowest is None else bisect_left(users, lowest)
        return position < len(users) and (highest is None or users[position] <= highest)
