"""Merged files: many days of an event file, a summary file or offline rows in one, with the same rows to read."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from updater.domain import columns
from updater.domain.declared.modality import Modality
from updater.lake import partitions
from updater.lake.schemas import event_schema
from updater.state.event_store import EventFile, scan

EVENT_GROUP_ROWS = 65_536
"""Most rows of a row group in a merged event file."""
FEWEST_GROUP_ROWS = 16_384
"""Buckets with fewer rows share a group with their neighbours: opening a group costs as much as reading so many rows
of it. So beside a bucket lie fewer rows of others than that.
"""
READS_PER_MERGE = 16
"""A merge reads neighbouring buckets together, in so many parts, and holds one part in memory."""
EVENT_FORMAT: dict[str, Any] = {"compression": "zstd", "compression_level": 9}
"""Chosen by measurement: docs/adr/0009-compaction.md."""
ORDER = ("bucket", "user_id", "event_time", "event_id", "ds")


def merge_events(
    connection: duckdb.DuckDBPyConnection,
    modality: Modality,
    files: Sequence[EventFile],
    buckets: range,
    newest_only: bool,
    path: str,
) -> None:
    """Write the rows that landed on the days of `files` to one event file, sorted by bucket and user.

    Args:
        connection: DuckDB over the state.
        modality: whose events they are.
        files: the landed days and where their rows lie.
        buckets: the buckets of the files.
        newest_only: of each user only the rows of the newest of these days.
        path: the file to write, atomically.
    """
    schema = event_schema(modality)
    newest = "qualify ds = max(ds) over (partition by user_id)" if newest_only else ""
    bound: dict[str, Any] = {}
    query = (
        f"with events as ({scan('events', files, bound)}) select {', '.join(schema.names)} from events "
        f"where bucket between $low and $high {newest} order by {', '.join(ORDER)}"
    )
    step = -(-len(buckets) // READS_PER_MERGE)
    waiting: list[pa.Table] = []
    with partitions.write_file(path) as file, pq.ParquetWriter(file, schema, **EVENT_FORMAT) as writer:
        for low in buckets[::step]:
            bounds = {"low": low, "high": low + step - 1}
            table = connection.execute(query, {**bound, **bounds}).to_arrow_table().cast(schema)
            for rows in _by_bucket(table):
                waiting.append(rows)
                if sum(part.num_rows for part in waiting) >= FEWEST_GROUP_ROWS:
                    writer.write_table(pa.concat_tables(waiting), row_group_size=EVENT_GROUP_ROWS)
                    waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=EVENT_GROUP_ROWS)


def merge_offline(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], newest_only: bool, path: str) -> None:
    """Write the offline rows of `paths` to one file by time and user; of each user all rows, or only the newest."""
    key = [columns.JOIN_KEY] if newest_only else [columns.JOIN_KEY, columns.EVENT_TIMESTAMP, columns.CREATED_TIMESTAMP]
    newest = [f"{columns.EVENT_TIMESTAMP} desc", f"{columns.CREATED_TIMESTAMP} desc"]
    order = [columns.EVENT_TIMESTAMP, columns.CREATED_TIMESTAMP, columns.JOIN_KEY]
    _merge_rows(connection, paths, key, newest, order, path)


def merge_summaries(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], path: str) -> None:
    """Write the newest summary of each user and modality of `paths` to one file."""
    key = ["modality", columns.JOIN_KEY]
    _merge_rows(connection, paths, key, ["ds desc", "generation desc"], key, path)


def _merge_rows(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    key: Sequence[str],
    newest: Sequence[str],
    order: Sequence[str],
    path: str,
) -> None:
    # A column that an older file lacks is null there, as it is for whoever reads both files.
    schema = pa.unify_schemas([_schema(name) for name in paths])
    query = f"""
        select {", ".join(f'"{name}"' for name in schema.names)}
        from read_parquet($files, hive_partitioning = false, union_by_name = true)
        qualify row_number() over (partition by {", ".join(key)} order by {", ".join(newest)}) = 1
        order by {", ".join(order)}"""
    table = connection.execute(query, {"files": list(paths)}).to_arrow_table().cast(schema)
    partitions.write_table(path, table)


def _schema(path: str) -> pa.Schema:
    fs, inner = partitions.filesystem(path)
    with fs.open(inner, "rb") as file:
        return pq.read_schema(file).remove_metadata()


def _by_bucket(table: pa.Table) -> Iterator[pa.Table]:
    """The rows of each bucket of a table that is sorted by bucket."""
    buckets = table["bucket"].to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(buckets)) + 1).tolist(), len(buckets)]
    for start, end in pairwise(cuts):
        if end > start:
            yield table.slice(start, end - start)
