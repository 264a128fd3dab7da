"""What an embedding has to beat: recency, frequency and money, and the same with counts of each category.

The features follow from the config alone. Of each stream, over windows of 7 to 90 days: events, active days and the
sum of each numeric column; the days since its newest event; and how much its weekly count varies. Of each snapshot:
one column for each value of its category. Counts or sums by the values of a column come on top if `Groups` name them.
All are logarithms, log(1 + x), with the sign kept.

Counts whose events lose half of their weight every so many days (`Groups.half_life_days`) are the strongest baseline.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.errors import ConfigError
from updater.labels.events import Events, quoted
from updater.settings import Settings

WINDOWS = (7, 14, 28, 56, 90)
"""Days up to the anchor that are summed over."""

Floats = NDArray[np.float64]
Columns = dict[str, Floats]


@dataclass(frozen=True)
class Groups:
    """Events of a stream, counted or summed by the values of a column."""

    modality: str
    column: str
    values: tuple[str, ...]
    amount: str = ""
    """The numeric column that is summed; empty to count events."""
    num_days: int = max(WINDOWS)
    half_life_days: float = 0.0
    """Days in which what an event counts for halves; 0 if it counts the same whatever its age."""

    @property
    def part(self) -> int:
        """Of the features (`Features.parts`): counts of values, decayed ones; sums are money like any other."""
        return 0 if self.amount else 1 + bool(self.half_life_days)

    def __post_init__(self) -> None:
        if not 1 <= self.num_days <= max(WINDOWS):
            raise ConfigError(f"groups of {self.modality} span {self.num_days} days; use 1 to {max(WINDOWS)}.")


@dataclass(frozen=True, eq=False)
class Features:
    """A row of features for each user and anchor, sorted by anchor and user."""

    users: NDArray[np.str_]
    anchors: NDArray[np.datetime64]
    names: tuple[str, ...]
    parts: NDArray[np.int64]
    """(names,): 0 for recency, frequency and money, 1 for counts of values, 2 for decayed ones."""
    values: Floats
    """(rows, names), on a logarithmic scale."""
    of_nobody: Floats
    """(names,): the features of a user without any event."""

    def rows_of(self, labels: pa.Table) -> Floats:
        """The features of the rows of a table with the columns user_id and anchor: (rows, names)."""
        place = {key: row for row, key in enumerate(zip(self.users.tolist(), self.anchors.tolist(), strict=True))}
        keys = zip(labels["user_id"].to_pylist(), labels["anchor"].to_pylist(), strict=True)
        index = np.array([place.get(key, -1) for key in keys], dtype=int)
        rows: Floats = np.vstack([self.values, self.of_nobody])[index]
        return rows


def rfm_features(events: Events, anchors: Iterable[date], groups: Sequence[Groups] = ()) -> Features:
    """Recency, frequency and money of every user with an event in the 90 days up to each anchor.

    Args:
        events: what is read.
        anchors: last days that are known; nothing that landed later is read.
        groups: what to count or sum by the values of a column, such as `commonest`.
    """
    of_days: list[tuple[date, NDArray[np.str_], Columns]] = []
    part_of: dict[str, int] = {}
    settings, connection = events.settings, events.connection
    for ds in sorted(set(anchors)):
        _load(events, ds, groups)
        users = _users(connection, settings)
        columns = _snapshots(connection, settings, users)
        for modality in _of_kind(settings, "stream"):
            columns |= _stream(connection, modality, users)
        for group in groups:
            grouped = _grouped(connection, group, users)
            part_of |= dict.fromkeys(grouped, group.part)
            columns |= grouped
        of_days.append((ds, users, columns))
    names = tuple(sorted({name for _, _, columns in of_days for name in columns}))
    values = [
        np.stack([columns.get(name, np.zeros(len(users))) for name in names], axis=1) for _, users, columns in of_days
    ]
    nobody = np.array([max(WINDOWS) if name.endswith(_RECENCY) else 0 for name in names], dtype=float)
    return Features(
        np.concatenate([users for _, users, _ in of_days]),
        np.concatenate([np.full(len(users), np.datetime64(ds)) for ds, users, _ in of_days]),
        names,
        np.array([part_of.get(name, 0) for name in names], dtype=np.int64),
        _logarithm(np.concatenate(values)),
        _logarithm(nobody),
    )


def land_history(events: Events, anchors: Iterable[date]) -> None:
    """Land what `rfm_features` reads, so that its own cost can be measured."""
    for ds in sorted(set(anchors)):
        anchor = day_window(ds, events.settings.timezone)
        for modality in _of_kind(events.settings, "stream"):
            events.land_past(modality.name, anchor, max(WINDOWS))
        for modality in _of_kind(events.settings, "snapshot"):
            events.land_snapshot(modality.name, anchor)


def commonest(
    events: Events, anchors: Iterable[date], modality: str, column: str = "", limit: int = 240
) -> tuple[str, ...]:
    """The values of a column, by default the modality's category, with most events in the 90 days up to the anchors.

    Give the training anchors, so that the choice knows nothing of the test.
    """
    settings = events.settings
    column = column or settings.modality(modality).category
    totals: dict[str, int] = {}
    for ds in sorted(set(anchors)):
        events.load_past(modality, day_window(ds, settings.timezone), max(WINDOWS), [column])
        name = quoted(column)
        query = f"select {name}, count(*) from past_{modality} where {name} is not null group by 1"
        for value, count in events.connection.execute(query).fetchall():
            totals[value] = totals.get(value, 0) + count
    return tuple(sorted(totals, key=lambda value: (-totals[value], value))[:limit])


_RECENCY = ":days_since"


def _load(events: Events, ds: date, groups: Sequence[Groups]) -> None:
    settings = events.settings
    anchor = day_window(ds, settings.timezone)
    for modality in _of_kind(settings, "stream"):
        grouped = {name for group in groups if group.modality == modality.name for name in (group.column, group.amount)}
        columns = {*modality.numeric, *grouped} - {""}
        events.load_past(modality.name, anchor, max(WINDOWS), columns)
    for modality in _of_kind(settings, "snapshot"):
        events.load_snapshot(modality.name, anchor, {modality.category} - {""})


def _users(connection: duckdb.DuckDBPyConnection, settings: Settings) -> NDArray[np.str_]:
    """Everyone with an event in a stream, sorted."""
    streams = [f"select distinct user_id from past_{modality.name}" for modality in _of_kind(settings, "stream")]
    found = connection.execute(" union ".join(streams)).fetchall()
    return np.array(sorted(user for (user,) in found), dtype=str)


def _stream(connection: duckdb.DuckDBPyConnection, modality: Modality, users: NDArray[np.str_]) -> Columns:
    weeks = ", ".join(f"count(*) filter (age // 7 = {week})" for week in range(max(WINDOWS) // 7))
    # A user without events counts as a day staler than the oldest one could be.
    aggregates = {_RECENCY: "min(age)", ":weekly_deviation": f"list_stddev_pop([{weeks}])"}
    for days in WINDOWS:
        held = f"filter (age < {days})"
        aggregates[f":events_{days}d"] = f"count(*) {held}"
        aggregates[f":active_days_{days}d"] = f"count(distinct age) {held}"
        for column in modality.numeric:
            aggregates[f":{column}_{days}d"] = f"sum({quoted(column)}) {held}"
    sql = ", ".join(f"coalesce({aggregate}, 0)::double as {quoted(name)}" for name, aggregate in aggregates.items())
    found = connection.execute(f"select user_id, {sql} from past_{modality.name} group by 1").to_arrow_table()
    rows = np.searchsorted(users, np.array(found["user_id"].to_pylist(), dtype=str))
    columns = {}
    for name in aggregates:
        values = np.full(len(users), float(max(WINDOWS)) if name == _RECENCY else 0.0)
        values[rows] = found[name].to_numpy()
        columns[modality.name + name] = values
    return columns


def _grouped(connection: duckdb.DuckDBPyConnection, group: Groups, users: NDArray[np.str_]) -> Columns:
    column = quoted(group.column)
    weight = f"power(0.5, age / {group.half_life_days!r})" if group.half_life_days else "1"
    level = f"coalesce(sum({weight} * {quoted(group.amount) if group.amount else 1}), 0)"
    found = connection.execute(
        f"select user_id, {column}, {level}::double from past_{group.modality} where age < $num_days group by 1, 2",
        {"num_days": group.num_days},
    ).fetchall()
    place = {user: row for row, user in enumerate(users.tolist())}
    columns = {value: np.zeros(len(users)) for value in group.values}
    for user, value, amount in found:
        if value in columns:
            columns[value][place[user]] = amount
    decay = f" halved every {group.half_life_days:g}d" if group.half_life_days else ""
    prefix = f"{group.modality}:{group.amount or 'events'}_{group.num_days}d{decay} where {group.column} is "
    return {prefix + value: counts for value, counts in columns.items()}


def _snapshots(connection: duckdb.DuckDBPyConnection, settings: Settings, users: NDArray[np.str_]) -> Columns:
    place = {user: row for row, user in enumerate(users.tolist())}
    columns: Columns = {}
    for modality in _of_kind(settings, "snapshot"):
        if not modality.category:
            continue
        query = f"select distinct user_id, {quoted(modality.category)} from past_{modality.name}"
        for user, value in connection.execute(query).fetchall():
            if user in place:
                columns.setdefault(f"{modality.name}:is {value}", np.zeros(len(users)))[place[user]] = 1.0
    return columns


def _of_kind(settings: Settings, kind: str) -> list[Modality]:
    return [modality for modality in settings.modalities if modality.kind == kind]


def _logarithm(values: Floats) -> Floats:
    scaled: Floats = np.sign(values) * np.log1p(np.abs(values))
    return scaled
