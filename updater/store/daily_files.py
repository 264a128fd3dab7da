"""The rows of a time window in a directory of daily partitions, `<root>/ds=YYYY-MM-DD/*.parquet`, merged or not.

Only partitions that can hold the window are opened, and of several rows of one entity only the newest is kept.
In memory are the keys and timestamps of the window, and a few batches of its rows; or all of them if they are few.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from updater.domain.bucket_file_names import directory_days
from updater.locations import filesystem

# A row's event_timestamp is the end of local day `ds`. A local midnight lies between 14 hours before the UTC one
# (Kiribati) and 12 hours after it, so that end is 10 to 36 hours after `ds` 00:00 UTC, give or take an odd offset.
SHORTEST_LAG = timedelta(hours=9)
LONGEST_LAG = timedelta(hours=37)

SMALL_BYTES = 32 * 2**20
"""Files of that size together are read once. Larger ones are read twice, because their rows shall not lie in memory."""


@dataclass(frozen=True)
class DailyFiles:
    """The partitions of one feature view and the columns that identify and order its rows."""

    root: str
    join_key: str
    event_column: str
    created_column: str

    def newest_rows(
        self, features: list[str], start: datetime, end: datetime, batch_size: int
    ) -> Iterator[pa.RecordBatch]:
        """The newest row of every entity with `start <= event_timestamp <= end`, `batch_size` rows at a time."""
        fs, root = filesystem(self.root)
        sizes = _sizes(fs, root, *_days_that_hold(start, end))
        if not sizes:
            return
        paths = list(sizes)
        # The newest file has every column of the view; in an older one a missing column reads as null.
        with fs.open(paths[-1], "rb") as file:
            schema = pq.read_schema(file)
        dataset = pads.dataset(paths, schema=schema, filesystem=fs, format="parquet")
        event = pads.field(self.event_column)
        kind = schema.field(self.event_column).type
        first, last = (pa.scalar(instant, pa.timestamp("us", "UTC")).cast(kind) for instant in (start, end))
        inside = (event >= first) & (event <= last) & pads.field(self.join_key).is_valid()

        order = [self.join_key, self.event_column, self.created_column]
        if sum(sizes.values()) <= SMALL_BYTES:
            table = dataset.to_table(columns=[*order, *features], filter=inside)
            newest = table.filter(pa.array(self._newest(table)))
            yield from _rebatched(iter(newest.to_batches()), batch_size)
            return
        keep = self._newest(dataset.to_table(columns=order, filter=inside))
        # File by file: a scan of the whole dataset reads ahead without a limit while the store writes.
        scanned = (
            batch
            for file in dataset.get_fragments()
            for batch in file.to_batches(
                schema=schema, columns=[*order, *features], filter=inside, batch_size=batch_size, batch_readahead=1
            )
        )
        yield from _rebatched(_kept(scanned, keep), batch_size)

    def _newest(self, keys: pa.Table) -> npt.NDArray[np.bool_]:
        """True for the rows that no other row of the same entity is newer than; of equal ones the last."""
        entities = keys.column(self.join_key).combine_chunks().dictionary_encode()
        if len(entities.dictionary) == len(entities):
            return np.ones(len(entities), dtype=bool)
        codes = entities.indices.to_numpy()
        oldest = np.iinfo(np.int64).min
        event, created = (
            keys.column(name).cast(pa.timestamp("us")).cast(pa.int64()).fill_null(oldest).to_numpy()
            for name in (self.event_column, self.created_column)
        )
        order = np.lexsort((created, event, codes))
        last_of_entity = np.append(np.diff(codes[order]) != 0, True)
        keep = np.zeros(len(entities), dtype=bool)
        keep[order[last_of_entity]] = True
        return keep


def _days_that_hold(start: datetime, end: datetime) -> tuple[date, date]:
    """First and last `ds` whose 00:00 UTC lies between the longest lag before `start` and the shortest before `end`."""
    return (start - LONGEST_LAG + timedelta(days=1, microseconds=-1)).date(), (end - SHORTEST_LAG).date()


def _sizes(fs: AbstractFileSystem, root: str, first: date, last: date) -> dict[str, int]:
    """Parquet files that hold days from `first` to `last` (inclusive), oldest first, and their bytes; a row may lie in
    two of them.
    """
    fs.invalidate_cache()  # some object stores remember what was there before
    try:
        directories = [str(path) for path in fs.ls(root, detail=False)]
    except FileNotFoundError:
        return {}
    found: list[tuple[date, str, int]] = []
    for directory in directories:
        days = directory_days(_name(directory))
        if days is not None and days[1] <= last and days[2] >= first:
            files = [(str(file["name"]), int(file["size"] or 0)) for file in fs.ls(directory, detail=True)]
            named = [(path, size) for path, size in files if path.endswith(".parquet") and _name(path)[0] not in "._"]
            found += [(days[2], path, size) for path, size in named]
    return {path: size for _, path, size in sorted(found)}


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _kept(batches: Iterator[pa.RecordBatch], keep: npt.NDArray[np.bool_]) -> Iterator[pa.RecordBatch]:
    position = 0
    for batch in batches:
        mask = keep[position : position + batch.num_rows]
        position += batch.num_rows
        yield batch if mask.all() else batch.filter(pa.array(mask))


def _rebatched(batches: Iterator[pa.RecordBatch], batch_size: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of `batch_size`, the last one shorter: many small files are few writes."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        while sum(part.num_rows for part in waiting) >= batch_size:
            joined = pa.concat_batches(waiting)
            yield joined.slice(0, batch_size)
            waiting = [joined.slice(batch_size)]
    joined = pa.concat_batches(waiting) if waiting else None
    if joined is not None and joined.num_rows:
        yield joined
