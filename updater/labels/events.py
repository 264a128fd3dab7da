"""What users had done by an anchor, and what they did next, as DuckDB tables: read from the pipeline's event files.

An anchor is the window of the last day that is known. Its past is the rolling buffer at its end, so that nothing can
leak into a feature; what came next is the buffer of the following days, as it was known at their end. Days that no
window has processed are landed first. So one set of rules decides what counts: bad rows are rejected, rows of erased
users are gone, and late, corrected and deleted events are those of the daily update.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from updater.config_file import nearest
from updater.domain.declared.modality import Modality
from updater.domain.window import Window, day_window, days, first_buffer_day
from updater.errors import ConfigError, NotLandedError
from updater.lake.partitions import join, landed_days
from updater.lake.schemas import numeric_columns
from updater.pipeline.daily.intake.land import land_day
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.state.event_store import Buffer, EventFile, connect


@contextmanager
def open_events(context: WritableContext, progress: Progress = no_progress) -> Iterator["Events"]:
    """The events of a deployment, for the length of a `with` block."""
    with connect(context.settings.paths.lake, context.settings.paths.state) as connection:
        yield Events(context, connection, progress)


class Events:
    """Makes the tables `past_<modality>` and `next_<modality>` on `connection`."""

    def __init__(self, context: WritableContext, connection: duckdb.DuckDBPyConnection, progress: Progress) -> None:
        self.connection = connection
        self.settings = context.settings
        self._context = context
        self._progress = progress
        self._in_lake: dict[str, set[date]] = {}
        self._landed: set[tuple[str, date]] = set()
        self._words: set[tuple[str, str, date]] = set()

    def load_past(self, modality: str, anchor: Window, num_days: int, columns: Iterable[str]) -> None:
        """Make the table `past_<modality>` of a stream: the events of the `num_days` local days that end with the
        anchor's, as they were known at its end.

        Its columns are user_id, `age` (whole local days before the anchor's day, from 0) and `columns`.
        """
        stream = self._stream(modality)
        self.land_past(modality, anchor, num_days)
        self._load(f"past_{modality}", stream, anchor, num_days, columns, f"{_DISTANCE} as age", anchor.ds)

    def load_next(self, modality: str, anchor: Window, num_days: int, columns: Iterable[str]) -> None:
        """Make the table `next_<modality>`: the events of the `num_days` local days after the anchor's, as they were
        known at the end of these.

        Its columns are user_id, `ahead` (whole local days after the anchor's day, from 1) and `columns`. An event that
        lands in these days but happened before them is left out.

        Raises:
            NotLandedError: one of the days has not landed, so that a label would be false because data is missing.
        """
        stream = self._stream(modality)
        last = day_window(anchor.ds + timedelta(days=num_days), self.settings.timezone)
        self._land(stream, anchor.ds + timedelta(days=1), last.ds, needed=not stream.optional)
        self._load(f"next_{modality}", stream, last, num_days, columns, f"-{_DISTANCE} as ahead", anchor.ds)

    def load_snapshot(self, modality: str, anchor: Window, columns: Iterable[str]) -> None:
        """Make the table `past_<modality>` of a snapshot: each user's newest row set that had landed by the anchor.

        Its columns are user_id and `columns`.
        """
        self.land_snapshot(modality, anchor)
        declared = self.settings.modality(modality)
        self._load(f"past_{modality}", declared, anchor, self.settings.buffer.days, columns, "", anchor.ds)

    def land_past(self, modality: str, anchor: Window, num_days: int) -> None:
        """Land the days that `load_past` reads, where that has not been done."""
        self._land(self._stream(modality), first_buffer_day(anchor.ds, num_days), anchor.ds)

    def land_snapshot(self, modality: str, anchor: Window) -> None:
        """Land the days that `load_snapshot` reads, where that has not been done."""
        if known := sorted(ds for ds in self._days(modality) if ds <= anchor.ds):
            self._land(self.settings.modality(modality), known[0], anchor.ds)

    def _stream(self, modality: str) -> Modality:
        declared = self.settings.modality(modality)
        if declared.kind != "stream":
            raise ConfigError(f"modality {modality!r} is a snapshot, whose rows happen at no time; name a stream.")
        return declared

    def _days(self, modality: str) -> set[date]:
        """Days of a modality that the lake holds."""
        if modality not in self._in_lake:
            self._in_lake[modality] = set(landed_days(join(self.settings.paths.lake, modality)))
        return self._in_lake[modality]

    def _land(self, modality: Modality, first: date, last: date, *, needed: bool = False) -> None:
        """Turn landed days into event files where no window or training has; what is done is left alone."""
        wanted = [*days(first, last)]
        for done, ds in enumerate(wanted):
            if (modality.name, ds) in self._landed:
                continue
            if ds in self._days(modality.name):
                self._progress(f"landing {modality.name}", done, len(wanted))
                land_day(self._context, ds, modality)
            elif needed and self._context.ledger.partition(modality.name, ds) is None:
                raise NotLandedError(
                    f"{modality.name} has not landed on {ds}, which a label needs; choose an earlier anchor.",
                    modality=modality.name,
                    ds=ds,
                )
            self._landed.add((modality.name, ds))

    def _load(
        self,
        table: str,
        modality: Modality,
        window: Window,
        num_days: int,
        columns: Iterable[str],
        distance: str,
        anchor: date,
    ) -> None:
        settings = self.settings
        wanted = sorted(set(columns))
        for name in wanted:
            if name not in modality.columns:
                raise ConfigError(f"modality {modality.name!r} has no column {name!r}{nearest(name, modality.columns)}")
        files = self._context.event_files(modality.name, window.ds)
        buffer = Buffer(self.connection, modality, files, num_days, settings.timezone)
        held = buffer.content(window, extra=("ds", "category"))
        kept = dict(zip(modality.numeric, numeric_columns(modality), strict=True))
        fields, joins = ["user_id", *filter(None, [distance])], []
        for number, name in enumerate(wanted):
            if name in kept:
                fields.append(f"{kept[name]} as {quoted(name)}")
            elif name == modality.category:
                fields.append(f"nullif(category, '') as {quoted(name)}")
            else:
                words = self._read_words(modality, name, files, held)
                fields.append(f"w{number}.word as {quoted(name)}")
                joins.append(f"left join {words} as w{number} using (user_id, event_id, ds)")
        self.connection.register("held", held)
        parameters: dict[str, Any] = {"timezone": settings.timezone, "anchor": anchor} if distance else {}
        within = " where event_time < $end" if distance else ""
        if distance:
            parameters["end"] = window.end.replace(tzinfo=None)
        self.connection.execute(
            f"create or replace temp table {table} as select {', '.join(fields)} from held {' '.join(joins)}{within}",
            parameters,
        )
        self.connection.unregister("held")

    def _read_words(self, modality: Modality, column: str, files: Sequence[EventFile], held: pa.Table) -> str:
        """A text column that event files do not keep, looked up in the lake for the events that they hold.

        Its partitions are read by the same code as for the daily update, with the column in the place of the category.
        """
        table = f"words_{modality.name}_{modality.columns.index(column)}"
        self.connection.execute(
            f"create temp table if not exists {table} (user_id varchar, event_id varchar, ds date, word varchar)"
        )
        other = dataclasses.replace(modality, category=column)
        wanted = set(held["ds"].unique().to_pylist()) & {file.ds for file in files}
        for ds in sorted(wanted):
            if (modality.name, column, ds) in self._words:
                continue
            if ds not in self._days(modality.name):
                raise NotLandedError(
                    f"{modality.name} of {ds} is no longer in the lake, from which column {column!r} is read; "
                    "land the day again, or use the modality's category.",
                    modality=modality.name,
                    ds=ds,
                )
            self.connection.register("partition_rows", self._context.landed(other, ds).events)
            self.connection.execute(
                f"insert into {table} select user_id, event_id, ds, nullif(category, '') from partition_rows"
            )
            self.connection.unregister("partition_rows")
            self._words.add((modality.name, column, ds))
        return table


_DISTANCE = """date_diff(
    'day', ((event_time at time zone 'UTC') at time zone $timezone)::date, $anchor::date
)::integer"""


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
