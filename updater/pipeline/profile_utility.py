"""How well textual profiles predict what users do on the next day: measured on past windows, stored nowhere.

The profile is the one of the day before, so nothing of the day that it is asked about is in it. Beside it stand what is
frequent among all users, and the embeddings that were published by the day before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

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
from updater.users.event_batches import UserEvents
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


class Question(NamedTuple):
    """An event of a day: which of two values was it?"""

    user: int
    """Position among the users."""
    part: int
    """Position of the modality among those that are counted."""
    value: str
    place: int
    """Position of the value among those that were known before the day; -1 if it is new."""
    rejected: int
    """Position of the other value."""
    name: str
    """By whose hash it was drawn."""


@dataclass(frozen=True)
class Asked:
    """What is asked about a day, and what was known before it."""

    buckets: Mapping[int, Sequence[str]]
    """The users by bucket."""
    users: Sequence[str]
    """Sorted."""
    before: Window
    events: Sequence[UserEvents]
    """Of the users, at the end of the day before."""
    counted: Sequence[CountedEvents]
    """What of it is counted, per counted modality."""
    questions: Sequence[Question]


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


def ask_about(context: Context, session: Session, window: Window, num_users: int) -> Asked:
    """The events of a day of about `num_users` users as questions: which of two values was it?"""
    before = context.window(day_before(window.ds))
    chosen = Sampler(context, before).choose(num_users)
    buckets, users = list(chosen), sorted(user for own in chosen.values() for user in own)
    if not users:
        return Asked(chosen, [], before, [], [], [])
    known = read_buffer(context, session, before, buckets, users, profiles=True)
    after = read_buffer(context, session, window, buckets, users, profiles=True)
    start = round(window.start.timestamp()) * MICROSECONDS
    olds = _counted(known)
    questions = []
    for part, (old, new) in enumerate(zip(olds, _counted(after), strict=True)):
        popularity_T = np.bincount(old.value_N, minlength=len(old.values)).astype(np.int64)
        places = {value: place for place, value in enumerate(old.values)}
        for event in np.flatnonzero(new.time_N >= start).tolist() if not new.is_state else ():
            user, value = int(new.user_N[event]), new.values[new.value_N[event]]
            place = places.get(value, -1)
            name = f"{window.ds} {new.modality} {users[user]} {new.time_N[event]} {event}"
            if (rejected := rejected_value(popularity_T, place, name)) is not None:
                questions.append(Question(user, part, value, place, rejected, name))
    return Asked(chosen, users, before, known.events, olds, questions)


def _measure(context: Context, session: Session, window: Window, num_users: int) -> tuple[_Answers, int]:
    """Answers about the day, and how many users were looked at."""
    asked = ask_about(context, session, window, num_users)
    made = profiles_of(asked.events, np.arange(len(asked.users)), context.settings.profile)
    named = [named_values(profile, made.facets) for profile in made.profiles]
    near = nearest_users(context, asked.before, asked.buckets)
    popularity = [np.bincount(old.value_N, minlength=len(old.values)) for old in asked.counted]
    likely = [near.scores(old) if near else np.zeros((len(asked.users), len(old.values))) for old in asked.counted]
    answers = []
    for one in asked.questions:
        old = asked.counted[one.part]
        scores = [score(named[one.user], old.modality, value) for value in (one.value, old.values[one.rejected])]
        # What nobody had before is as frequent and as likely as nothing.
        frequent, near_by = (
            (of[one.place] if one.place >= 0 else 0, of[one.rejected])
            for of in (popularity[one.part], likely[one.part][one.user])
        )
        answers.append((wins(*scores), wins(*frequent), wins(*near_by), scores[0] != scores[1]))
    told, frequent_ones, embedding, decided = np.array(answers, float).reshape(-1, 4).T
    users = [asked.users[one.user] for one in asked.questions]
    return _Answers(users, told, frequent_ones, embedding if near else np.zeros(0), decided), len(asked.users)


def _counted(buffered: BufferedUsers) -> list[CountedEvents]:
    everyone = np.arange(buffered.users.num_rows)
    return [counted_events(events, everyone) for events in buffered.events if events.said is not None]
