"""What the event lake knew at an anchor, and what came after it, as DuckDB tables.

An anchor is the window of the last day that is known. Its past is read from files that had landed by then and from
no others, so that nothing can leak into a feature; what came next is read from files that landed later.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import duckdb

from updater.config_file import nearest
from updater.domain.window import Window, day_window, days, first_buffer_day
from updater.errors import ConfigError, NotLandedError
from updater.lake.partitions import SUCCESS, day_directory, join, landed_days, list_names
from updater.lake.pseudonyms import pseudonyms
from updater.settings import Settings


def load_past(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    modality: str,
    anchor: Window,
    num_days: int,
    columns: Iterable[str],
) -> None:
    """Make the table `past_<modality>`: the events of the `num_days` local days that end with the anchor's.

    Its columns are user_id, `age` (whole local days before the anchor's day, from 0) and `columns`.
    """
    first = first_buffer_day(anchor.ds, num_days)
    files = [path for ds in days(first, anchor.ds) for path in _files(settings, modality, ds)]
    bounds = (day_window(first, settings.timezone).start, anchor.end)
    _load(connection, settings, f"past_{modality}", modality, files, bounds, anchor.ds, "age", columns)


def load_next(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    modality: str,
    anchor: Window,
    num_days: int,
    columns: Iterable[str],
) -> None:
    """Make the table `next_<modality>`: the events of the `num_days` local days after the anchor's.

    Its columns are user_id, `ahead` (whole local days after the anchor's day, from 1) and `columns`. An event that
    lands in these days but happened before them is left out.

    Raises:
        NotLandedError: one of the days has not landed, so that a label would be false for want of data.
    """
    last = anchor.ds + timedelta(days=num_days)
    files = []
    for ds in days(anchor.ds + timedelta(days=1), last):
        landed = _files(settings, modality, ds, needed=not settings.modality(modality).optional)
        files.extend(landed)
    bounds = (anchor.end, day_window(last, settings.timezone).end)
    _load(connection, settings, f"next_{modality}", modality, files, bounds, anchor.ds, "-ahead", columns)


def load_snapshot(
    connection: duckdb.DuckDBPyConnection, settings: Settings, modality: str, anchor: Window, columns: Iterable[str]
) -> None:
    """Make the table `past_<modality>` of a snapshot: each user's newest row set that had landed by the anchor.

    Its columns are user_id and `columns`.
    """
    known = [ds for ds in landed_days(join(settings.paths.lake, modality)) if ds <= anchor.ds]
    files = [path for ds in known for path in _files(settings, modality, ds)]
    types = {"user_id": "varchar", **_types(settings, modality, columns)}
    if not files:
        _make_empty(connection, f"past_{modality}", types)
        return
    source, parameters = _source(settings, files)
    connection.execute(
        f"""create or replace temp table past_{modality} as
        select {_cast(types)} from (
            select * from {source} where user_id is not null
            qualify ds = max(ds) over (partition by user_id)
        ) where op is distinct from 'delete'""",
        parameters,
    )


def _files(settings: Settings, modality: str, ds: date, *, needed: bool = False) -> list[str]:
    directory = day_directory(join(settings.paths.lake, modality), ds)
    names = list_names(directory)
    if SUCCESS in names:
        return [join(directory, name) for name in names if name.endswith(".parquet") and name[0] not in "._"]
    if needed:
        raise NotLandedError(f"{modality} has not landed on {ds}, which a label needs; choose an earlier anchor.")
    return []


def _load(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    table: str,
    modality: str,
    files: list[str],
    bounds: tuple[datetime, datetime],
    anchor: date,
    distance: str,
    columns: Iterable[str],
) -> None:
    name = distance.removeprefix("-")
    types = {"user_id": "varchar", name: "integer", **_types(settings, modality, columns)}
    if not files:
        _make_empty(connection, table, types)
        return
    source, parameters = _source(settings, files)
    sign = "-" if distance.startswith("-") else ""
    connection.execute(
        f"""create or replace temp table {table} as
        select {_cast(types)} from (
            select *, {sign}date_diff('day', (event_time at time zone $timezone)::date, $anchor::date) as {name}
            from {source} where user_id is not null
            qualify row_number() over (
                partition by user_id, event_id order by ds desc, filename desc, file_row_number desc
            ) = 1
        ) where op is distinct from 'delete' and event_time >= $start and event_time < $end""",
        {**parameters, "timezone": settings.timezone, "anchor": anchor, "start": bounds[0], "end": bounds[1]},
    )


def _source(settings: Settings, files: list[str]) -> tuple[str, dict[str, Any]]:
    """The rows of lake files as a subquery, with the ids by which the state knows users, and its parameters."""
    hashes = pseudonyms(settings)
    user, key = hashes.sql("user_id") if hashes else ("user_id", {})
    # Files may lack `op`; the row that brings it has no user, and no query keeps a row without one.
    source = f"""(
        select * replace ({user} as user_id) from read_parquet(
            $files, union_by_name = true, filename = true, file_row_number = true,
            hive_partitioning = true, hive_types = {{'ds': date}}
        )
        union all by name select null::varchar as op
    )"""
    return source, {"files": files, **key}


def _types(settings: Settings, modality: str, columns: Iterable[str]) -> dict[str, str]:
    """The DuckDB type of each of `columns`: a double for a numeric one, text for all others."""
    declared = settings.modality(modality)
    types = {}
    for name in sorted(set(columns)):
        if name not in declared.columns:
            raise ConfigError(f"modality {modality!r} has no column {name!r}{nearest(name, declared.columns)}")
        types[name] = "double" if name in declared.numeric else "varchar"
    return types


def _cast(types: dict[str, str]) -> str:
    return ", ".join(f"{quoted(name)}::{kind} as {quoted(name)}" for name, kind in types.items())


def _make_empty(connection: duckdb.DuckDBPyConnection, table: str, types: dict[str, str]) -> None:
    fields = ", ".join(f"null::{kind} as {quoted(name)}" for name, kind in types.items())
    connection.execute(f"create or replace temp table {table} as select {fields} where false")


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
