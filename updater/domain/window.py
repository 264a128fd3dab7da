"""The unit of work: one local day, as a half-open interval of UTC instants."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, order=True)
class Window:
    """One landing day `ds` of the config's timezone: `[start, end)` in UTC.

    A day has 23 or 25 hours when the clocks change, so lengths are never assumed.
    """

    ds: date
    start: datetime
    end: datetime

    @property
    def as_of(self) -> datetime:
        """The first instant at which everything that landed in the window could be known."""
        return self.end

    def __str__(self) -> str:
        return self.ds.isoformat()


def start_of_day(ds: date, timezone: str) -> datetime:
    """The UTC instant at which local day `ds` begins: its first midnight, or the clock change that skips midnight."""
    # The standard library's default (fold=0) means just that; pendulum would take the second of two midnights.
    return datetime(ds.year, ds.month, ds.day, tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def day_window(ds: date, timezone: str) -> Window:
    """The window of landing day `ds`."""
    return Window(ds, start_of_day(ds, timezone), start_of_day(ds + timedelta(days=1), timezone))


def day_that_ends(as_of: datetime, timezone: str) -> date:
    """The local day whose window ends at `as_of`."""
    return (as_of - timedelta(microseconds=1)).astimezone(ZoneInfo(timezone)).date()


def buffer_start(window: Window, buffer_days: int, timezone: str) -> datetime:
    """First instant that the rolling buffer still holds at `window.as_of`: `buffer_days` local days earlier."""
    return start_of_day(first_buffer_day(window.ds, buffer_days), timezone)


def first_buffer_day(ds: date, buffer_days: int) -> date:
    """First of the `buffer_days` local days that end with `ds`."""
    return ds - timedelta(days=buffer_days - 1)


def days(from_date: date, to_date: date) -> Iterator[date]:
    """All days from `from_date` to `to_date`, both inclusive, oldest first."""
    for offset in range((to_date - from_date).days + 1):
        yield from_date + timedelta(days=offset)


def minute(instant: str) -> str:
    """An instant (ISO, UTC) to the minute, as a reader sees it."""
    return instant[:16].replace("T", " ")
