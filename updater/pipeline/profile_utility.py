"""How well textual profiles predict what users do on the next day: measured on past windows, stored nowhere.

The profile is the one of the day before, so nothing of the day that it is asked about is in it. Beside it stand what is
frequent among all users, and the embeddings that were published by the day before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from updater.domain.window import Window, days
from updater.errors import ConfigError, NothingCommittedError
from updater.pipeline.daily.bucket_values import BufferedUsers, read_buffer
from updater.pipeline.monitor.verify_sample import Sampler
from updater.pipeline.profile_neighbours import nearest_users
from updater.profile.clustered import Floats, Share, discounted_share
from updater.profile.facets import CountedEvents
from updater.profile.utility import named_values, rejected_value, score, wins
from updater.runtime.deployment import Context, Progress, day_before, no_progress
from updater.runtime.session import Session
from updater.users.profiles import counted_events, profiles_of

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Utility:
    """Shares of questions that are answered rightly, each with its standard error; None where nobody was asked.

    A question about whose two values a reader says the same counts a half.
    """

    profile: Share | None
    """By the text of the day before."""
    popularity: Share | None
    """If the value that is more frequent among all users is taken."""
    embedding: Share | None
    """If that is taken which users of the nearest embeddings of the day before have more of; None without a model."""
    above_popularity: Share | None
    """What the text has more than popularity, on the same questions."""
    above_embedding: Share | None


@dataclass(frozen=True)
class DayUtility(Utility):
    """How well the profiles of the day before predict one day's events."""

    ds: str
    users: int
    """Users of the sample."""
    questions: int
    """Events of that day with a value, of users who had a profile, and an alternative to it."""
    decided: float | None
    """Share of the questions about whose two values the text does not say the same."""


@dataclass(frozen=True)
class UtilityReport(Utility):
    """Forward utility of a range of days: discounted means over the days with questions, the first one weighs most."""

    days: Sequence[DayUtility]


@dataclass(frozen=True)
class _Answers:
    """What was answered on a day; each array has an entry for each question."""

    users: Sequence[str]
    profile: Floats
    popularity: Floats
    embedding: Floats
    """Empty without a model."""
    decided: Floats


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
    found, sizes = [], []
    with Session(context) as session:
        for done, ds in enumerate(wanted):
            progress("measuring profiles", done, len(wanted))
            answers, size = _measure(context, session, context.window(ds), num_users)
            found.append(answers)
            sizes.append(size)
    each = [
        DayUtility(
            ds=ds.isoformat(),
            users=size,
            questions=len(one.users),
            decided=round(float(one.decided.mean()), 4) if len(one.users) else None,
            **_shares([one]),
        )
        for ds, one, size in zip(wanted, found, sizes, strict=True)
    ]
    return UtilityReport(days=each, **_shares(found))


def _shares(days: Sequence[_Answers]) -> dict[str, Share | None]:
    has_model = all(len(day.embedding) == len(day.users) for day in days)
    told = {
        "profile": [day.profile for day in days],
        "popularity": [day.popularity for day in days],
        "embedding": [day.embedding for day in days] if has_model else None,
        "above_popularity": [day.profile - day.popularity for day in days],
        "above_embedding": [day.profile - day.embedding for day in days] if has_model else None,
    }
    users = [day.users for day in days]
    return {name: None if values is None else discounted_share(users, values) for name, values in told.items()}


def _measure(context: Context, session: Session, window: Window, num_users: int) -> tuple[_Answers, int]:
    """Answers about the day, and how many users were looked at."""
    before = context.window(day_before(window.ds))
    chosen = Sampler(context, before).choose(num_users)
    buckets, users = list(chosen), sorted(user for own in chosen.values() for user in own)
    nobody = np.zeros(0)  # nobody was asked
    if not users:
        return _Answers([], nobody, nobody, nobody, nobody), 0
    known = read_buffer(context, session, before, buckets, users, profiles=True)
    after = read_buffer(context, session, window, buckets, users, profiles=True)
    made = profiles_of(known.events, np.arange(len(users)), context.settings.profile)
    named = [named_values(profile, made.facets) for profile in made.profiles]
    near = nearest_users(context, before, chosen)
    start = round(window.start.timestamp()) * MICROSECONDS
    asked, answers = [], []
    for old, new in zip(_counted(known), _counted(after), strict=True):
        popularity_T = np.bincount(old.value_N, minlength=len(old.values)).astype(np.int64)
        near_UT = near.scores(old) if near else np.zeros((len(users), len(old.values)))
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
            frequency, likely = (popularity_T[place], near_UT[user, place]) if place >= 0 else (0, 0.0)
            asked.append(users[user])
            answers.append(
                (
                    wins(*scores),
                    wins(frequency, popularity_T[rejected]),
                    wins(likely, near_UT[user, rejected]),
                    scores[0] != scores[1],
                )
            )
    profile, popularity, embedding, decided = np.array(answers, float).reshape(-1, 4).T
    return _Answers(asked, profile, popularity, embedding if near else nobody, decided), len(users)


def _counted(buffered: BufferedUsers) -> list[CountedEvents]:
    everyone = np.arange(buffered.users.num_rows)
    return [counted_events(events, everyone) for events in buffered.events if events.said is not None]
