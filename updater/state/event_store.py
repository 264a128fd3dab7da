"""The rolling buffer: a query over append-only event files, never a mutable ring.

At `as_of` a stream holds, per (user, event id), the newest version that had landed, if it is no deletion and its
`event_time` lies in the buffer's days. A snapshot holds a user's newest landed row set. So a day can be recomputed
as it was known then.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from updater.domain.declared.modality import Modality
from updater.domain.window import Window, buffer_start, day_window, first_buffer_day
from updater.lake import partitions
from updater.lake.schemas import event_schema, numeric_columns
from updater.locations import is_s3
from updater.objects.duckdb_progress import without_progress_bar
from updater.objects.duckdb_reads import read_buckets

ROWS_PER_BATCH = 65_536
CHANGES_SCHEMA = pa.schema(
    [("user_id", pa.string()), ("bucket", pa.int32()), ("reason", pa.string()), ("num_events", pa.int64())]
)


@dataclass(frozen=True)
class EventFile:
    """Where the rows of a modality lie that landed on a day."""

    ds: date
    path: str
    merged: bool = False
    """The file also holds rows of other days, which may count no longer."""
    buckets: range | None = None
    """The only buckets that it has rows of; None: any."""

    def may_hold(self, buckets: Collection[int]) -> bool:
        """False if it has no rows of `buckets`, of which none means all."""
        return not buckets or self.buckets is None or any(bucket in self.buckets for bucket in buckets)


def connect(*roots: str) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in UTC, on one thread, that can read below `roots` on any filesystem."""
    connection = without_progress_bar(duckdb.connect(config={"threads": 1}))
    connection.execute("set TimeZone = 'UTC'")
    for root in roots:
        if is_s3(root):
            read_buckets(connection)
        elif not partitions.is_local(root):
            connection.register_filesystem(partitions.filesystem(root)[0])
    return connection


def read_rows(files: Sequence[EventFile], columns: Sequence[str]) -> pa.Table | None:
    """Some columns of the rows that landed on the days of `files`; None without files."""
    tables = [partitions.read_table(file.path, list(columns)) for file in files if not file.merged]
    for path, landed in _days_of_merged(files).items():
        table = partitions.read_table(path, list(dict.fromkeys([*columns, "ds"])))
        rows = table.filter(pc.is_in(table["ds"], value_set=pa.array(landed, pa.date32())))
        tables.append(rows.select(list(columns)))
    return pa.concat_tables(tables) if tables else None


def row_batches(files: Sequence[EventFile], columns: Sequence[str]) -> Iterator[pa.Table]:
    """As `read_rows`, a part of a file at a time."""
    landed = _days_of_merged(files)
    for path in dict.fromkeys(file.path for file in files):
        wanted = pa.array(landed[path], pa.date32()) if path in landed else None
        fs, inner = partitions.filesystem(path)
        with fs.open(inner, "rb") as file, pq.ParquetFile(file) as parquet:
            names = list(dict.fromkeys([*columns, *([] if wanted is None else ["ds"])]))
            for batch in parquet.iter_batches(ROWS_PER_BATCH, columns=names):
                table = pa.Table.from_batches([batch])
                if wanted is not None:
                    table = table.filter(pc.is_in(table["ds"], value_set=wanted))
                yield table.select(list(columns))


def scan(name: str, files: Sequence[EventFile], bound: dict[str, Any]) -> str:
    """A query for the rows that landed on the days of `files`; empty without files.

    Args:
        name: prefix of the query's parameters.
        files: the days and where their rows lie.
        bound: takes in the values of the parameters.
    """
    parts = []
    if paths := [file.path for file in files if not file.merged]:
        bound[f"{name}_files"] = paths
        parts.append(f"select * from read_parquet(${name}_files, hive_partitioning = false)")
    for number, (path, landed) in enumerate(_days_of_merged(files).items()):
        bound[f"{name}_file_{number}"] = path
        first, last = min(landed), max(landed)
        if (last - first).days + 1 == len(set(landed)):
            # Days without a gap: compared within the scan. A list of days is joined to what was read.
            bound[f"{name}_first_{number}"], bound[f"{name}_last_{number}"] = first, last
            wanted = f"between ${name}_first_{number} and ${name}_last_{number}"
        else:
            bound[f"{name}_days_{number}"] = landed
            wanted = f"in (select unnest(${name}_days_{number}))"
        parts.append(f"select * from read_parquet(${name}_file_{number}, hive_partitioning = false) where ds {wanted}")
    return " union all ".join(parts)


def _days_of_merged(files: Sequence[EventFile]) -> dict[str, list[date]]:
    """Per merged file the days whose rows are to be read from it."""
    days: dict[str, list[date]] = {}
    for file in files:
        if file.merged:
            days.setdefault(file.path, []).append(file.ds)
    return days


class Buffer:
    """The rolling buffer of one modality, over the event files of its landed days."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        modality: Modality,
        files: Sequence[EventFile],
        buffer_days: int,
        timezone: str,
    ) -> None:
        self._connection = connection
        self._modality = modality
        self._files = sorted(files, key=lambda file: file.ds)
        self._buffer_days = buffer_days
        self.timezone = timezone

    def content(
        self,
        window: Window,
        users: pa.Table | None = None,
        buckets: Sequence[int] = (),
        extra: Sequence[str] = (),
    ) -> pa.Table:
        """Events held at `window.as_of`, sorted by user, time and id; a snapshot's, which have no times, by user
        and id.

        Args:
            window: the window at whose end the buffer is read.
            users: a table with a column `user_id`; None for all users.
            buckets: the buckets to read, whose rows lie together; all if empty.
            extra: further columns of the event files, such as `category`.

        Returns:
            Columns user_id, event_id, event_time, text_id, the numeric columns and `extra`.
        """
        where = _of_buckets(buckets)
        if users is not None:
            self._connection.register("wanted", users.select(["user_id"]))
            where += " and user_id in (select user_id from wanted)"
        columns = ", ".join(["user_id", "event_id", "event_time", "text_id", *numeric_columns(self._modality), *extra])
        order = "user_id, event_id" if self._modality.kind == "snapshot" else "user_id, event_time, event_id"
        return self._query(
            f" select {columns} from ({self._newest('events', where)}) where {self._held('$start')} order by {order}",
            {"start": self._start(window)},
            events=self._held_files(window.ds, buckets),
        )

    def changes(self, window: Window, buckets: Sequence[int] = (), compared: Sequence[str] = ()) -> pa.Table:
        """Users whose content differs between the previous window's end and this one's, each with the reasons and
        counts.

        Args:
            window: the window.
            buckets: the buckets to look at; all if empty.
            compared: further columns of the event files in which versions of an event may differ, such as `category`.

        Returns:
            `CHANGES_SCHEMA`, one row per user and reason, sorted by bucket, user and reason.
        """
        previous = day_window(window.ds - timedelta(days=1), self.timezone)
        today = [file for file in self._files if file.ds == window.ds and file.may_hold(buckets)]
        past = self._held_files(previous.ds, buckets)
        where = _of_buckets(buckets)
        names = [*numeric_columns(self._modality), *compared]
        others = [f"(before.{name} is not distinct from after.{name})" for name in names]
        if self._modality.kind == "snapshot":
            return self._query(_SNAPSHOT_CHANGES.format(same=_and(others)), {}, where, past=past, today=today)
        query = _STREAM_CHANGES.format(
            same=_and(["before.event_time = after.event_time", *others]),
            newest=self._newest("past", "(user_id, event_id) in (select user_id, event_id from keys)"),
        )
        bounds = {
            "old_start": self._start(previous),
            "new_start": self._start(window),
            "window_start": _naive(window.start),
        }
        return self._query(query, bounds, where, past=past, today=today)

    def everyone(self, window: Window, buckets: Sequence[int] = ()) -> pa.Table:
        """All users with content at `window.as_of`, as changes of reason `new`: what the first window ever has to do.

        Args:
            window: the window at whose end the buffer is read.
            buckets: the buckets to read; all if empty.
        """
        query = f"""
            select user_id, bucket, 'new' as reason, count(*) as num_events
            from ({self._newest("events", _of_buckets(buckets))}) where {self._held("$start")}
            group by all order by bucket, user_id"""
        return self._query(query, {"start": self._start(window)}, events=self._held_files(window.ds, buckets))

    def _newest(self, source: str, where: str) -> str:
        if self._modality.kind == "snapshot":
            return f"select * from {source} where {where} qualify ds = max(ds) over (partition by user_id)"
        return (
            f"select * from {source} where {where} qualify row_number() over (partition by "
            "user_id, event_id order by ds desc) = 1"
        )

    def _held(self, start: str) -> str:
        return "not deleted" if self._modality.kind == "snapshot" else f"not deleted and event_time >= {start}"

    def _start(self, window: Window) -> datetime:
        return _naive(buffer_start(window, self._buffer_days, self.timezone))

    def _held_files(self, last: date, buckets: Collection[int]) -> list[EventFile]:
        """Files that can hold content of `buckets` at the end of `last`; a snapshot stays until it is replaced."""
        first = first_buffer_day(last, self._buffer_days) if self._modality.kind == "stream" else date.min
        return [file for file in self._files if first <= file.ds <= last and file.may_hold(buckets)]

    def _query(
        self, sql: str, parameters: dict[str, datetime], where: str = "true", **sources: list[EventFile]
    ) -> pa.Table:
        """Run `sql` after a `with` clause that makes each of `sources` (name to event files) a relation of the rows
        that meet the condition `where`.
        """
        bound: dict[str, Any] = {name: value for name, value in parameters.items() if f"${name}" in sql}
        relations = []
        for name, files in sources.items():
            source = scan(name, files, bound)
            if not source:
                self._connection.register("no_events", event_schema(self._modality).empty_table())
                source = "select * from no_events"
            # Conditions reach a scan only if it is not kept for its second reader; what landed in a day is small.
            kept = "" if name == "today" else "not materialized "
            relations.append(f"{name} as {kept}(select * from ({source}) where {where})")
        return self._connection.execute(f"with {', '.join(relations)}{sql}", bound).to_arrow_table()


def _of_buckets(buckets: Sequence[int]) -> str:
    """A condition that row groups without these buckets are skipped by; none for no buckets."""
    if not buckets:
        return "true"
    if max(buckets) - min(buckets) + 1 == len(set(buckets)):
        return f"bucket between {min(buckets)} and {max(buckets)}"
    return f"bucket in ({', '.join(map(str, sorted(set(buckets))))})"


def _naive(instant: datetime) -> datetime:
    return instant.replace(tzinfo=None)


def _and(conditions: list[str]) -> str:
    return " and ".join(conditions) or "true"


_STREAM_CHANGES = """,
keys as (
    select user_id, event_id from today
    union select user_id, event_id from past where event_time >= $old_start and event_time < $new_start
),
newest as ({newest}),
versions as (
    select coalesce(before.user_id, after.user_id) as user_id, coalesce(before.bucket, after.bucket) as bucket,
        before.event_id is not null and not before.deleted and before.event_time >= $old_start as was_held,
        case when after.event_id is null then was_held and before.event_time >= $new_start
             else not after.deleted and after.event_time >= $new_start end as is_held,
        after.event_id is null or (was_held and not after.deleted and before.text_id = after.text_id and {same}) as
        same,
        after.event_id is not null and after.deleted as deletes,
        after.event_time >= $window_start as is_fresh
    from newest as before full join today as after using (user_id, event_id)
),
reasons as (
    select user_id, bucket, case
        when was_held and not is_held and same then 'expired'
        when was_held and not is_held and deletes then 'deleted'
        when was_held and not is_held then 'replaced'
        when not was_held and is_held and is_fresh then 'new'
        when not was_held and is_held then 'late'
        when was_held and is_held and not same then 'replaced'
        end as reason
    from versions
)
select user_id, bucket, reason, count(*) as num_events from reasons where reason is not null group by all order by
bucket, user_id, reason
"""

_SNAPSHOT_CHANGES = """,
candidates as (select distinct user_id from today),
newest as (
    select * from past where user_id in (select user_id from candidates) qualify ds = max(ds) over (partition by
    user_id)
),
versions as (
    select user_id, coalesce(before.bucket, after.bucket) as bucket,
        before.event_id is null as arrives, after.event_id is null as leaves, before.text_id = after.text_id and
        {same} as same
    from (select * from newest where not deleted) as before full join (select * from today where not deleted) as after
    using (user_id, event_id)
),
reasons as (
    select user_id, bucket, case when arrives then 'new' when leaves then 'deleted' when not same then 'replaced' end
    as reason from versions
)
select user_id, bucket, reason, count(*) as num_events from reasons where reason is not null group by all order by
bucket, user_id, reason
"""
