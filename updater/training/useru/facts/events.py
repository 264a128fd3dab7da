"""A user's profile and future as plain rows, read from the same buffer as the daily update."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.buckets import is_sampled
from updater.domain.declared.modality import Modality
from updater.domain.window import Window, buffer_start, day_window
from updater.lake.schemas import numeric_columns
from updater.settings import Settings
from updater.state.event_store import Buffer, EventFile, scan


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event, or one row of a snapshot."""

    modality: str
    event_id: str
    time: datetime
    """In the config's timezone, so that its date is the local day."""
    landed: date
    """Landing day of this version."""
    is_state: bool = False
    """True for a row of a snapshot, which holds at the profile's end whatever its time."""
    text: str = ""
    category: str = ""
    numbers: Mapping[str, float]
    """Numeric columns by name, without nulls."""

    @property
    def day(self) -> date:
        """Local day."""
        return self.time.date()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What was known of a user at the end of local day `anchor`: half-open `[start, end)`."""

    user_id: str
    anchor: date
    start: datetime
    end: datetime
    events: tuple[Event, ...]
    """By modality as declared, each by time and id."""

    @property
    def num_days(self) -> int:
        """Local days of the window."""
        return (self.anchor - self.start.date()).days + 1


@dataclass(frozen=True, kw_only=True)
class Future:
    """What a user then did: stream events with times in half-open `[start, end)`."""

    start: datetime
    end: datetime
    events: tuple[Event, ...] = ()


def refusal(profile: Profile, future: Future | None = None) -> str | None:
    """Why a row of these two windows would leak, or None. Every row of training data has to pass this."""
    if future is not None and profile.end > future.start:
        return "the profile ends after the future begins"
    for event in profile.events:
        if event.time >= profile.end:
            return f"{event.modality} event {event.event_id!r} of the profile lies at or after its end"
        if event.landed > profile.anchor:
            return f"{event.modality} event {event.event_id!r} of the profile landed after the anchor day"
        if not event.is_state and event.time < profile.start:
            return f"{event.modality} event {event.event_id!r} of the profile lies before its start"
    if future is None:
        return None
    known = {(event.modality, event.event_id) for event in profile.events}
    for event in future.events:
        if not future.start <= event.time < future.end:
            return f"{event.modality} event {event.event_id!r} of the future lies outside its window"
        if (event.modality, event.event_id) in known:
            return f"{event.modality} event {event.event_id!r} is in the profile and in the future"
    return None


class EventReader:
    """Reads windows of one bucket's users at a time, or of a share of them."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        settings: Settings,
        files: Mapping[str, Sequence[EventFile]],
        users_share: float = 1.0,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._files = files
        self._users_share = users_share
        self._zone = ZoneInfo(settings.timezone)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """As declared."""
        return self._settings.modalities

    def profiles(self, anchor: date, bucket: int) -> list[Profile]:
        """Profiles of the bucket's users with any event, sorted by user."""
        window, days = day_window(anchor, self._settings.timezone), self._settings.buffer.days
        start = buffer_start(window, days, self._settings.timezone)
        by_user: dict[str, list[Event]] = {}
        for modality in self._settings.modalities:
            self._collect(by_user, modality, window, days, bucket)
        return [
            Profile(
                user_id=user,
                anchor=anchor,
                start=start.astimezone(self._zone),
                end=window.end.astimezone(self._zone),
                events=tuple(by_user[user]),
            )
            for user in sorted(by_user)
        ]

    def futures(self, anchor: date, days: int, bucket: int) -> dict[str, Future]:
        """Per user of the bucket what happened in the `days` local days after `anchor`, as known at their end.

        Users without events are left out. Snapshots are states and no behaviour.
        """
        last = day_window(anchor + timedelta(days=days), self._settings.timezone)
        by_user: dict[str, list[Event]] = {}
        for modality in self._settings.modalities:
            if modality.kind == "stream":
                self._collect(by_user, modality, last, days, bucket)
        nothing = self.no_future(anchor, days)
        return {user: replace(nothing, events=tuple(events)) for user, events in by_user.items()}

    def no_future(self, anchor: date, days: int) -> Future:
        """The window of `futures`, of a user who does nothing in it."""
        first = day_window(anchor + timedelta(days=1), self._settings.timezone)
        last = day_window(anchor + timedelta(days=days), self._settings.timezone)
        return Future(start=first.start.astimezone(self._zone), end=last.end.astimezone(self._zone))

    def categories(self, last: date) -> list[tuple[str, str]]:
        """Pairs of a modality and a category that landed up to day `last`, the most frequent first."""
        counts: Counter[tuple[str, str]] = Counter()
        for modality in self._settings.modalities:
            bound: dict[str, Any] = {}
            files = [file for file in self._files.get(modality.name, ()) if file.ds <= last]
            if landed := scan("events", files, bound):
                rows = self._connection.execute(_CATEGORIES.format(landed=landed), bound).fetchall()
                counts.update({(modality.name, category): number for category, number in rows})
        return sorted(counts, key=lambda pair: (-counts[pair], pair))

    def _collect(
        self, by_user: dict[str, list[Event]], modality: Modality, window: Window, days: int, bucket: int
    ) -> None:
        files = self._files.get(modality.name, ())
        buffer = Buffer(self._connection, modality, files, days, self._settings.timezone)
        held = buffer.content(window, buckets=[bucket], extra=("ds", "text", "category"))
        if self._users_share < 1:
            users = [user for user in pc.unique(held["user_id"]).to_pylist() if is_sampled(user, self._users_share)]
            held = held.filter(pc.is_in(held["user_id"], value_set=pa.array(users, pa.string())))
        for row in held.to_pylist():
            by_user.setdefault(row["user_id"], []).append(self._event(modality, row))

    def _event(self, modality: Modality, row: Mapping[str, Any]) -> Event:
        values = zip(modality.numeric, numeric_columns(modality), strict=True)
        return Event(
            modality=modality.name,
            event_id=row["event_id"],
            time=row["event_time"].replace(tzinfo=UTC).astimezone(self._zone),
            landed=row["ds"],
            is_state=modality.kind == "snapshot",
            text=row["text"] or "",
            category=row["category"] or "",
            numbers={name: row[column] for name, column in values if row[column] is not None},
        )


_CATEGORIES = """
select category, count(*) from ({landed}) where not deleted and category != '' group by category
"""
