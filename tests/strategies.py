"""Histories of an event lake for property tests: few users, few days, small vocabulary, so that everything collides."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pendulum
import pyarrow as pa
from hypothesis import strategies as st

from tests.factories import land_rows

BUFFER_DAYS = 3
MICROSECOND = timedelta(microseconds=1)
USERS = ("ann", "Ann", "bø 'x/%\"")
EVENT_IDS = ("a", "b", "c")
WORDS = ("milk", "bread", "tea", "")
AMOUNTS = (0.0, 1.5, -2.25, 1000.0)
MODALITIES: list[dict[str, Any]] = [
    {"name": "bill", "text": "{word} at corner shop", "numeric": ["amount"], "category": "word", "max_events": 2},
    {"name": "search", "text": "{word}", "max_events": 1},
    {"name": "app", "kind": "snapshot", "text": "{word}", "numeric": ["amount"], "max_events": 1, "optional": True},
]
COLUMNS = {"word": pa.string(), "amount": pa.float64(), "op": pa.string()}


@dataclass(frozen=True)
class Row:
    """One row of the lake."""

    user_id: str
    event_id: str
    event_time: datetime
    word: str
    amount: float
    deleted: bool = False

    def values(self) -> dict[str, Any]:
        """The row's lake columns."""
        keys = {"user_id": self.user_id, "event_id": self.event_id, "event_time": self.event_time}
        return {**keys, "word": self.word, "amount": self.amount, "op": "delete" if self.deleted else None}


Day = dict[str, tuple[Row, ...] | None]
"""Per modality the rows of a landing, in the order of the file; None if the modality does not land."""


@dataclass(frozen=True)
class History:
    """What lands day by day; the first window runs on day number `first_window`."""

    start: date
    timezone: str
    first_window: int
    landings: tuple[Day, ...]

    @property
    def days(self) -> list[date]:
        """All landing days."""
        return [self.start + timedelta(days=number) for number in range(len(self.landings))]

    @property
    def windows(self) -> list[date]:
        """Days that have a window."""
        return self.days[self.first_window :]

    def land(self, lake: str, days: Sequence[date] | None = None) -> None:
        """Write the days, or all, to a lake."""
        for ds, landing in zip(self.days, self.landings, strict=True):
            for modality, rows in landing.items():
                if rows is not None and (days is None or ds in days):
                    land_rows(lake, modality, ds, [row.values() for row in rows], columns=COLUMNS)


def _row(user: str, event_id: str, day: int, word: str, amount: float = 1.5, **more: Any) -> Row:
    time = datetime(2024, 3, 28, 9, tzinfo=UTC) + timedelta(days=day, hours=more.pop("hour", 0))
    return Row(user, event_id, time, word, amount, **more)


def _day(bill: Sequence[Row] = (), search: Sequence[Row] = (), app: Sequence[Row] | None = None) -> Day:
    return {"bill": tuple(bill), "search": tuple(search), "app": None if app is None else tuple(app)}


TOUR = History(
    date(2024, 3, 28),
    "UTC",
    first_window=1,
    landings=(
        # Before the first window: known from the start.
        _day([_row("ann", "a", 0, "milk"), _row("Ann", "a", 0, "tea")], app=[_row("ann", "a", 0, "bread")]),
        # Two versions in one file; more events than become tokens; a snapshot of two.
        _day(
            [_row("ann", "b", 1, "tea"), _row("ann", "c", 1, "", hour=1), _row("ann", "b", 1, "milk", hour=2)],
            [_row("ann", "a", 1, "milk"), _row("ann", "b", 1, "tea", hour=1)],
            [_row("ann", "a", 1, "bread"), _row("ann", "b", 1, "milk", hour=1)],
        ),
        # Late, new user, a duplicate that changes nothing, a snapshot that only has other times.
        _day(
            [_row("bø", "a", 0, "milk"), _row("ann", "a", 0, "milk")],
            app=[_row("ann", "b", 0, "milk"), _row("ann", "a", 2, "bread")],
        ),
        # Nothing lands; the events of day 0 expire.
        _day(),
        # Replaced by amount, time and text; deleted; a snapshot that shrinks.
        _day(
            [_row("ann", "b", 1, "milk", 1000.0, hour=2), _row("ann", "c", 2, "")],
            [_row("ann", "a", 1, "bread"), _row("ann", "b", 1, "", deleted=True)],
            [_row("ann", "b", 4, "milk")],
        ),
        # Deleted before and sent again; a deletion of what was never there; too late to be held; an empty snapshot.
        _day(
            [_row("Ann", "c", 5, "", deleted=True), _row("bø", "b", 1, "rice")],
            [_row("ann", "b", 4, "tea")],
            [_row("ann", "b", 5, "", deleted=True)],
        ),
        # Nothing at all happens: what expires today was deleted or replaced before.
        _day(),
        # Only expiries until nobody has anything.
        _day(),
    ),
)
"""Every kind of change that the contract names, in one history."""


def day_start(ds: date, timezone: str) -> datetime:
    """Local midnight."""
    return pendulum.datetime(ds.year, ds.month, ds.day, tz=timezone)


@st.composite
def histories(draw: st.DrawFn, max_days: int = 6, timezone: str | None = None) -> History:
    """New, late, duplicate, replaced, deleted, re-sent and expiring events, empty days, absent snapshots."""
    # The clocks change on the 31st in Berlin.
    timezone = timezone or draw(st.sampled_from(["UTC", "Europe/Berlin"]))
    start = date(2024, 3, 28)
    landings: list[Day] = []
    for number in range(draw(st.integers(2, max_days))):
        ds = start + timedelta(days=number)
        landing: Day = {}
        for modality in ("bill", "search", "app"):
            earlier = [row for past in landings for row in past[modality] or ()]
            if modality == "app":
                landing[modality] = draw(st.one_of(st.none(), _redelivery(earlier, ds, timezone), _rows(ds, timezone)))
            else:
                again = st.lists(st.sampled_from(earlier), max_size=2) if earlier else st.just([])
                landing[modality] = (*draw(again), *draw(_rows(ds, timezone)))
        landings.append(landing)
    return History(start, timezone, draw(st.integers(0, min(2, len(landings) - 1))), tuple(landings))


def _rows(ds: date, timezone: str) -> st.SearchStrategy[tuple[Row, ...]]:
    row = st.builds(
        Row,
        user_id=st.sampled_from(USERS),
        event_id=st.sampled_from(EVENT_IDS),
        event_time=_times(ds, timezone),
        word=st.sampled_from(WORDS),
        amount=st.sampled_from(AMOUNTS),
        deleted=st.sampled_from([False, False, False, False, True]),
    )
    return st.one_of(st.just(()), st.lists(row, max_size=4).map(tuple))


def _times(ds: date, timezone: str) -> st.SearchStrategy[datetime]:
    """The edges and the middle of the landing day and of those before it, to beyond the buffer."""
    edges = []
    for back in range(BUFFER_DAYS + 2):
        first, last = (day_start(ds - timedelta(days=back - n), timezone) for n in (0, 1))
        edges += [first, first + timedelta(hours=6), last - MICROSECOND]
    return st.sampled_from(edges)


@st.composite
def _redelivery(draw: st.DrawFn, earlier: Sequence[Row], ds: date, timezone: str) -> tuple[Row, ...]:
    """Some of a snapshot's earlier rows once more, as of another time."""
    if not earlier:
        return ()
    known = {(row.user_id, row.event_id): row for row in earlier if not row.deleted}
    kept = draw(st.lists(st.sampled_from(sorted(known)), unique=True)) if known else []
    return tuple(replace(known[key], event_time=draw(_times(ds, timezone))) for key in kept)
