"""How far embeddings moved from one row of a user to the next, read from the offline files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from updater.domain import columns


@dataclass(frozen=True)
class Drift:
    """What moved between the rows of a window and the same users' rows before it."""

    users: int
    """Users with a row in the window and one before it."""
    cosine: float | None
    """Mean cosine (-1 to 1) of the two; None without users."""
    mean_shift: float | None
    """Length of the difference between the means of the two sets; None without users. 0 if users move at random."""


def day_drift(connection: duckdb.DuckDBPyConnection, files: Sequence[str], scenario: str, as_of: datetime) -> Drift:
    """Drift of a scenario's embeddings at `as_of`, over the users in some buckets' offline files.

    Args:
        connection: DuckDB over the state.
        files: offline files of the scenario's feature view, of all days.
        scenario: name of the scenario.
        as_of: end of the window (UTC); of a restated row the newest counts.
    """
    if not files:
        return Drift(0, None, None)
    feature = columns.embedding(scenario)
    query = f"""
        with standing as (
            select {columns.JOIN_KEY}, {columns.EVENT_TIMESTAMP}, "{feature}" as embedding
            from read_parquet($files, hive_partitioning = false, union_by_name = true)
            where {columns.EVENT_TIMESTAMP} <= $as_of and {columns.JOIN_KEY} in (
                select {columns.JOIN_KEY} from read_parquet($files, hive_partitioning = false, union_by_name = true)
                where {columns.EVENT_TIMESTAMP} = $as_of)
            qualify row_number() over (
                partition by {columns.JOIN_KEY}, {columns.EVENT_TIMESTAMP} order by {columns.CREATED_TIMESTAMP} desc)
                = 1),
        aged as (
            select *, row_number() over (
                partition by {columns.JOIN_KEY} order by {columns.EVENT_TIMESTAMP} desc) as age
            from standing)
        select newer.embedding as newer, older.embedding as older
        from aged newer join aged older using ({columns.JOIN_KEY})
        where newer.age = 1 and older.age = 2"""
    rows = connection.execute(query, {"files": list(files), "as_of": as_of.replace(tzinfo=None)}).to_arrow_table()
    if not rows.num_rows:
        return Drift(0, None, None)
    newer_UE, older_UE = (_matrix(rows[name]) for name in ("newer", "older"))
    lengths_U = np.linalg.norm(newer_UE, axis=1) * np.linalg.norm(older_UE, axis=1)
    cosines_U = (newer_UE * older_UE).sum(axis=1) / lengths_U
    shift = np.linalg.norm(newer_UE.mean(axis=0) - older_UE.mean(axis=0))
    return Drift(rows.num_rows, float(cosines_U.mean()), float(shift))


def _matrix(embeddings: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    flat = embeddings.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float64).reshape(len(embeddings), -1)
