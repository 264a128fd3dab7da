"""How well textual profiles predict what users do on the next day: measured on past windows, stored nowhere.

The profile is the one of the day before, so nothing of the day that it is asked about is in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from updater.domain.window import Window, days
from updater.errors import ConfigError, NothingCommittedError
from updater.pipeline.daily.bucket_values import BufferedUsers, read_buffer
from updater.pipeline.monitor.verify_sample import Sampler
from updater.profile.facets import CountedEvents
from updater.profile.utility import discounted_mean, named_values, rejected_value, score, wins
from updater.runtime.deployment import Context, Progress, day_before, no_progress
from updater.runtime.session import Session
from updater.users.profiles import counted_events, profiles_of

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class DayUtility:
    """How well the profiles of the day before predict one day's events."""

    ds: str
    users: int
    """Users of the sample."""
    questions: int
    """Events of that day with a value, of users who had a profile, and an alternative to it."""
    profile: float | None
    """Share of the questions that the text answers rightly; one about which it says nothing counts a half."""
    popularity: float | None
    """The same if the value that is more frequent among all users is taken."""
    decided: float | None
    """Share of the questions about whose two values the text does not say the same."""


@dataclass(frozen=True)
class UtilityReport:
    """Forward utility of a range of days."""

    days: Sequence[DayUtility]
    profile: float | None
    """Discounted mean over the days with questions, the first one weighs most."""
    popularity: float | None


def profile_utility(
    context: Context, from_date: date, to_date: date, num_users: int, progress: Progress = no_progress
) -> UtilityReport:
    """Measure the profiles of a sample of users on the days of a range (both inclusive).

    Raises:
        NothingCommittedError: no window is committed.
        ConfigError: the range has a day whose day before, or which itself, has no committed window or is not kept.
    """
    first, watermark = context.first_window(), context.ledger.watermark()
    if first is None or watermark is None:
        raise NothingCommittedError("No window is committed yet, so nothing is known; run `updater run --ds …`.")
    earliest = max(first, context.ledger.earliest_recomputable() or first)
    if not earliest < from_date <= to_date <= watermark:
        raise ConfigError(
            f"Profiles can be measured on days after {earliest} up to {watermark}, not on {from_date} to {to_date}; "
            "give --from-date and --to-date of these."
        )
    wanted = list(days(from_date, to_date))
    found = []
    with Session(context) as session:
        for done, ds in enumerate(wanted):
            progress("measuring profiles", done, len(wanted))
            found.append(_measure(context, session, context.window(ds), num_users))
    asked = [day for day in found if day.profile is not None and day.popularity is not None]
    return UtilityReport(
        days=found,
        profile=round(discounted_mean([day.profile or 0.0 for day in asked]), 4) if asked else None,
        popularity=round(discounted_mean([day.popularity or 0.0 for day in asked]), 4) if asked else None,
    )


def _measure(context: Context, session: Session, window: Window, num_users: int) -> DayUtility:
    before = context.window(day_before(window.ds))
    chosen = Sampler(context, before).choose(num_users)
    buckets, users = list(chosen), sorted(user for own in chosen.values() for user in own)
    if not users:
        return DayUtility(window.ds.isoformat(), 0, 0, None, None, None)
    known = read_buffer(context, session, before, buckets, users, profiles=True)
    after = read_buffer(context, session, window, buckets, users, profiles=True)
    made = profiles_of(known.events, np.arange(len(users)), context.settings.profile)
    named = [named_values(profile, made.facets) for profile in made.profiles]
    start = round(window.start.timestamp()) * MICROSECONDS
    answers: list[tuple[float, float]] = []
    num_decided = 0
    for old, new in zip(_counted(known), _counted(after), strict=True):
        popularity_T = np.bincount(old.value_N, minlength=len(old.values)).astype(np.int64)
        places = {value: place for place, value in enumerate(old.values)}
        for event in np.flatnonzero(new.time_N >= start).tolist() if not new.is_state else ():
            user, value = int(new.user_N[event]), new.values[new.value_N[event]]
            place = places.get(value, -1)
            name = f"{window.ds} {new.modality} {users[user]} {new.time_N[event]} {event}"
            rejected = rejected_value(popularity_T, place, name)
            if rejected is None:
                continue
            other = old.values[rejected]
            scores = score(named[user], new.modality, value), score(named[user], new.modality, other)
            num_decided += scores[0] != scores[1]
            frequency = popularity_T[place] if place >= 0 else 0
            answers.append((wins(*scores), wins(frequency, popularity_T[rejected])))
    if not answers:
        return DayUtility(window.ds.isoformat(), len(users), 0, None, None, None)
    profile, popularity = np.mean(answers, axis=0).tolist()
    return DayUtility(
        ds=window.ds.isoformat(),
        users=len(users),
        questions=len(answers),
        profile=round(profile, 4),
        popularity=round(popularity, 4),
        decided=round(num_decided / len(answers), 4),
    )


def _counted(buffered: BufferedUsers) -> list[CountedEvents]:
    everyone = np.arange(buffered.users.num_rows)
    return [counted_events(events, everyone) for events in buffered.events if events.said is not None]
