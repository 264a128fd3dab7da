"""What a made-up history is to look like."""

import dataclasses
from dataclasses import dataclass
from datetime import date, timedelta

from updater.errors import ConfigError

STREAMS = ("bill", "mini", "spm", "search")
SNAPSHOTS = ("app", "tabular")
MODALITIES = ("bill", "mini", "spm", "app", "search", "tabular")


@dataclass(frozen=True, kw_only=True)
class EventsPerActiveDay:
    """Mean number of events of each stream, and of whole snapshots, per active user and day."""

    bill: float = 2.0
    mini: float = 2.0
    spm: float = 3.0
    search: float = 0.5
    app: float = 0.05
    """At most 1, as for `tabular`: a snapshot lands once a day or not at all."""
    tabular: float = 0.02

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 0 or (name in SNAPSHOTS and value > 1):
                raise ConfigError(
                    f"events_per_active_day.{name} is {value}; use 0 or more, and at most 1 for a snapshot."
                )


@dataclass(frozen=True, kw_only=True)
class SyntheticSpec:
    """A made-up history. Equal specs give equal bytes. Days are UTC days.

    Raises ConfigError for a share outside 0 to 1, or a history without users or days.
    """

    seed: int = 7
    """Non-negative."""
    num_users: int = 1000
    first_day: date = date(2025, 1, 1)
    num_days: int = 120
    active_share: float = 0.2
    """Share of all users with events on a day. Users differ by a factor of three."""
    events_per_active_day: EventsPerActiveDay = EventsPerActiveDay()
    late_share: float = 0.02
    """Share of stream events that land 1 to 7 days after they happened."""
    duplicate_share: float = 0.01
    """Share of stream events that land a second time, unchanged, within 6 days."""
    replace_share: float = 0.01
    """Share of stream events that land again with other content 1 to 7 days later."""
    delete_share: float = 0.005
    """Share of stream events that are deleted 1 to 7 days later."""
    new_user_share: float = 0.1
    """Share of users whose first possible day lies anywhere in the history, not at its start."""
    silent_user_share: float = 0.1
    """Share of users who stop on some day of the history: from then on their events only expire."""

    def __post_init__(self) -> None:
        for name in ("seed", "num_users", "num_days"):
            least = 0 if name == "seed" else 1
            if getattr(self, name) < least:
                raise ConfigError(f"synthetic {name} is {getattr(self, name)}; use {least} or more.")
        fates = self.late_share, self.duplicate_share, self.replace_share, self.delete_share
        shares = (*fates, self.active_share, self.new_user_share, self.silent_user_share)
        if min(shares) < 0 or max(shares) > 1 or sum(fates) > 1:
            raise ConfigError(
                "synthetic shares must lie from 0 to 1, and late, duplicate, replace, delete within 1 in all."
            )

    @property
    def last_day(self) -> date:
        """The last day of the history, inclusive."""
        return self.first_day + timedelta(days=self.num_days - 1)
