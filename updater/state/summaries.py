"""Modality summaries: what is kept of a user's whole buffer in one modality, and recomputed only when that modality
changed.

A summary does not depend on the model, only on the events and the text encoder, so a new model reuses it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

RECENT_DAYS = (7, 28)
"""Events are also counted within so many days before the modality's own newest event."""
DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Summaries:
    """The summaries of B users in one modality. V: width of an event vector, R: number of recency spans."""

    mean_BV: npt.NDArray[np.float32]
    """Mean event vector over the buffer; zeros without events."""
    num_events_B: npt.NDArray[np.int64]
    first_event_B: npt.NDArray[np.float64]
    """Oldest event time, seconds since the epoch; NaN without events and for snapshots."""
    last_event_B: npt.NDArray[np.float64]
    num_recent_BR: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, num_users: int, width: int) -> "Summaries":
        """Summaries of users without events."""
        return cls(
            np.zeros((num_users, width), np.float32),
            np.zeros(num_users, np.int64),
            np.full(num_users, np.nan),
            np.full(num_users, np.nan),
            np.zeros((num_users, len(RECENT_DAYS)), np.int64),
        )

    def put(self, rows: npt.NDArray[np.int64], other: "Summaries") -> None:
        """Overwrite the users at `rows` with `other`, in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)

    def take(self, rows: npt.NDArray[np.int64]) -> "Summaries":
        """The summaries of the users at `rows`."""
        return Summaries(*(getattr(self, field.name)[rows] for field in fields(self)))


def summarize(
    sums_BV: npt.NDArray[np.float64], times_N: npt.NDArray[np.float64], offsets_B1: npt.NDArray[np.int64]
) -> Summaries:
    """Summaries of B users from their events.

    Args:
        sums_BV: per user the sum of the event vectors, taken by time and id in float64: in that fixed order a summary
            is the same to the bit whatever else is computed along with it.
        times_N: event times in seconds since the epoch, users concatenated, each user's in order; NaN for snapshots.
        offsets_B1: user b owns events offsets[b] to offsets[b + 1].
    """
    num_events = np.diff(offsets_B1)
    result = Summaries.empty(len(num_events), sums_BV.shape[1])
    owners = np.flatnonzero(num_events)
    if not len(owners):
        return result
    starts, ends = offsets_B1[owners], offsets_B1[owners + 1]
    result.num_events_B[owners] = num_events[owners]
    result.mean_BV[owners] = sums_BV[owners] / num_events[owners, None]
    result.first_event_B[owners] = times_N[starts]
    result.last_event_B[owners] = times_N[ends - 1]
    before_last = np.repeat(times_N[ends - 1], num_events[owners]) - times_N
    for column, days in enumerate(RECENT_DAYS):
        recent = (before_last <= days * DAY_SECONDS).astype(np.int64)
        result.num_recent_BR[owners, column] = np.add.reduceat(recent, starts)
    return result


def to_table(users: Sequence[str], modality: str, summaries: Summaries, ds: date, generation: int) -> pa.Table:
    """Rows of a summary file of window `ds`; a restated window has a later `generation`."""
    width = summaries.mean_BV.shape[1]
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "modality": pa.repeat(modality, len(users)),
            "ds": pa.repeat(pa.scalar(ds), len(users)),
            "generation": pa.repeat(pa.scalar(generation, pa.int32()), len(users)),
            "num_events": summaries.num_events_B,
            "first_event": pa.array(summaries.first_event_B, from_pandas=True),
            "last_event": pa.array(summaries.last_event_B, from_pandas=True),
            **{f"num_recent_{days}": summaries.num_recent_BR[:, column] for column, days in enumerate(RECENT_DAYS)},
            "mean": pa.FixedSizeListArray.from_arrays(pa.array(summaries.mean_BV.reshape(-1)), width).cast(
                pa.list_(pa.float32())
            ),
        }
    )


def read_newest(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], widths: Mapping[str, int], users: pa.Table
) -> dict[str, Summaries]:
    """The newest summaries of `users` (column user_id) among `files`, per modality and in the order of `users`.

    Args:
        connection: DuckDB over the state.
        files: summary files of the users' bucket.
        widths: the modalities to read, with the width of their event vectors.
        users: whom to read; a user without a summary has an empty one.
    """
    if not files:
        return {modality: Summaries.empty(users.num_rows, width) for modality, width in widths.items()}
    source = "read_parquet($files, hive_partitioning = false)"
    return _newest(connection, source, {"files": list(files)}, widths, users)


def newest_of(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table | None, widths: Mapping[str, int], users: pa.Table
) -> dict[str, Summaries]:
    """As `read_newest`, from `rows` of summary files that have been read; None if there are no files."""
    if rows is None:
        return {modality: Summaries.empty(users.num_rows, width) for modality, width in widths.items()}
    connection.register("summary_rows", rows)
    return _newest(connection, "summary_rows", {}, widths, users)


def _newest(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    bound: dict[str, list[str]],
    widths: Mapping[str, int],
    users: pa.Table,
) -> dict[str, Summaries]:
    result = {modality: Summaries.empty(users.num_rows, width) for modality, width in widths.items()}
    if not users.num_rows:
        return result
    connection.register(
        "wanted", users.select(["user_id"]).append_column("position", pa.array(np.arange(users.num_rows)))
    )
    query = f"""
        select * from {source} join wanted using (user_id)
        qualify row_number() over (partition by user_id, modality order by ds desc, generation desc) = 1
        order by modality"""
    table = connection.execute(query, bound).to_arrow_table()
    for modality, summaries in result.items():
        _fill(summaries, table.filter(pc.equal(table["modality"], modality)))
    return result


def _fill(summaries: Summaries, table: pa.Table) -> None:
    rows = table["position"].to_numpy()
    summaries.num_events_B[rows] = table["num_events"].to_numpy()
    summaries.first_event_B[rows] = table["first_event"].to_numpy()
    summaries.last_event_B[rows] = table["last_event"].to_numpy()
    for column, days in enumerate(RECENT_DAYS):
        summaries.num_recent_BR[rows, column] = table[f"num_recent_{days}"].to_numpy()
    summaries.mean_BV[rows] = (
        table["mean"].combine_chunks().flatten().to_numpy().reshape(len(rows), summaries.mean_BV.shape[1])
    )


def read_users(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> list[str]:
    """All users that have a summary in `files`, sorted."""
    if not files:
        return []
    query = "select distinct user_id from read_parquet($files, hive_partitioning = false) order by user_id"
    return [user for (user,) in connection.execute(query, {"files": list(files)}).fetchall()]


def read_active(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> set[str]:
    """Users in `files` whose newest summaries hold any event."""
    if not files:
        return set()
    query = """
        with newest as (
            select user_id, num_events from read_parquet($files, hive_partitioning = false)
            qualify row_number() over (partition by user_id, modality order by ds desc, generation desc) = 1)
        select distinct user_id from newest where num_events > 0"""
    return {user for (user,) in connection.execute(query, {"files": list(files)}).fetchall()}
