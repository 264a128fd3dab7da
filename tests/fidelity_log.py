"""Logs for tests of fidelity questions: rows of a lake, and the history that the pipeline would make of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from tests.factories import utc
from updater.fidelity.hashing import is_train
from updater.fidelity.log.events import History, make_stream, make_upcoming, microseconds
from updater.fidelity.log.history import Upcoming


@dataclass(frozen=True)
class Event:
    """One row of a lake, and the day on which it landed."""

    user: str
    modality: str
    event_id: str
    time: datetime
    landed: date
    value: str | None = None
    deleted: bool = False

    @property
    def text(self) -> str:
        return f"{self.value or ''} thing"

    def row(self) -> dict[str, Any]:
        """Its columns in the lake."""
        keys = {"user_id": self.user, "event_id": self.event_id, "event_time": self.time}
        return {**keys, "kind": self.value, "op": "delete" if self.deleted else None}


def event(user: str, modality: str, number: int, time: str, value: str | None = None) -> Event:
    """An event that landed on the day on which it happened."""
    instant = utc(time)
    return Event(user, modality, f"{user}{number}", instant, instant.date(), value)


def history_of(events: Sequence[Event], ds: date, buffer_days: int, categories: dict[str, str]) -> History:
    """What is known of events without corrections at the end of `ds`, a day of UTC.

    Args:
        events: each id once.
        ds: the last known day.
        buffer_days: length of the buffer.
        categories: the modalities, each with the column of its values; empty for none.
    """
    empty = History(ds, "UTC", buffer_days, (), np.zeros(0, bool), ())
    first, end = empty.start(buffer_days), microseconds(empty.as_of)
    held = [e for e in events if e.landed <= ds and first <= microseconds(e.time) < end]
    users = sorted({e.user for e in held})
    train_U = np.array([is_train(user) for user in users], bool)
    streams = [
        make_stream(name, category, True, table_of(held, name), pa.array(users, pa.string()), train_U, ds)
        for name, category in categories.items()
    ]
    return History(ds, "UTC", buffer_days, tuple(users), train_U, tuple(streams))


def upcoming_of(events: Sequence[Event], history: History) -> tuple[Upcoming, ...]:
    """What happens after the history, to its users."""
    users = pa.array(history.users, pa.string())
    later = [e for e in events if microseconds(e.time) >= microseconds(history.as_of) and e.user in history.users]
    return tuple(make_upcoming(stream, table_of(later, stream.modality), users) for stream in history.streams)


def random_log(
    seed: int, num_users: int, days: Sequence[date], per_day: int = 3, values: str = "ABCDEFGH"
) -> list[Event]:
    """Made-up events of the modalities `item` and `visit` at whole hours, so that many are at the same moment.

    Users prefer other values in each third of the days, some silently miss values, and there are no corrections.
    """
    random, events = Random(seed), []
    for number in range(num_users):
        user = f"user{number}"
        favorites = [random.choice(values) for _ in range(3)]
        for position, ds in enumerate(days):
            favorite = favorites[3 * position // len(days)]
            for n in range(random.randrange(per_day + 1)):
                value = favorite if random.random() < 0.5 else random.choice([*values, None])
                modality = random.choice(["item", "item", "visit"])
                time = utc(ds.isoformat()).replace(hour=random.randrange(24))
                events.append(Event(user, modality, f"{ds}-{n}", time, ds, value))
    return events


def table_of(events: Sequence[Event], modality: str) -> pa.Table:
    """The rows of a modality as a buffer gives them."""
    rows = sorted((e for e in events if e.modality == modality), key=lambda e: (e.user, e.time, e.event_id))
    return pa.table(
        {
            "user_id": pa.array([e.user for e in rows], pa.string()),
            "event_id": pa.array([e.event_id for e in rows], pa.string()),
            "event_time": pa.array([e.time.replace(tzinfo=None) for e in rows], pa.timestamp("us")),
            "ds": pa.array([e.landed for e in rows], pa.date32()),
            "category": pa.array([e.value for e in rows], pa.string()),
            "text": pa.array([e.text for e in rows], pa.string()),
        }
    )
