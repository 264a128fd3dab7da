"""What can be said of a profile: pure functions of its events, each with the words it is said in."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from math import fsum

from updater.training.useru.facts.events import Event, Profile

RECENT = 28
"""Days of the recent period; changes are measured against as many days before it."""
WEEK = 7
MOST_NAMES = 3
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Value = float | tuple[str, ...]
"""A number to two decimals, or names."""
Function = Callable[[Profile, "Scope"], Value | None]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which events of a profile are meant; an empty field does not restrict."""

    modality: str = ""
    """Empty for all streams together."""
    category: str = ""
    column: str = ""
    """Numeric column that is added up or averaged."""
    days: int = 0
    """Length of the period in local days, 0 for the whole profile."""
    skip: int = 0
    """Days between the period's end and the profile's end."""


def fits(profile: Profile, scope: Scope) -> bool:
    """True if the profile reaches back as far as `scope` does. Of what lies before it the log knows nothing."""
    return scope.days + scope.skip <= profile.num_days


def events_in(profile: Profile, scope: Scope) -> list[Event]:
    """Events of `scope`, in the profile's order."""
    last = profile.anchor - timedelta(days=scope.skip)
    first = last - timedelta(days=scope.days - 1) if scope.days else None
    return [
        event
        for event in profile.events
        if (event.modality == scope.modality if scope.modality else not event.is_state)
        and (not scope.category or event.category == scope.category)
        and (event.is_state or (event.day <= last and (first is None or event.day >= first)))
    ]


def most_common(names: Sequence[str], limit: int = MOST_NAMES) -> tuple[str, ...]:
    """The most frequent names, ties in alphabetical order; empty names do not count."""
    counts = Counter(name for name in names if name)
    return tuple(sorted(counts, key=lambda name: (-counts[name], name))[:limit])


def percent(part: int, whole: int) -> float:
    """Whole percentage."""
    return float(round(100 * part / whole))


def _num_events(profile: Profile, scope: Scope) -> Value:
    return float(len(events_in(profile, scope)))


def _active_days(profile: Profile, scope: Scope) -> Value:
    return float(len({event.day for event in events_in(profile, scope)}))


def _days_since_last(profile: Profile, scope: Scope) -> Value | None:
    days = [event.day for event in events_in(profile, scope)]
    return float((profile.anchor - max(days)).days) if days else None


def _longest_gap(profile: Profile, scope: Scope) -> Value | None:
    days = sorted({event.day for event in events_in(profile, scope)})
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    return float(max(gaps)) if gaps else None


def _num_categories(profile: Profile, scope: Scope) -> Value:
    return float(len({event.category for event in events_in(profile, scope)} - {""}))


def _weekend_share(profile: Profile, scope: Scope) -> Value | None:
    events = events_in(profile, scope)
    return percent(sum(event.day.weekday() >= 5 for event in events), len(events)) if events else None


def _top_share(profile: Profile, scope: Scope) -> Value | None:
    events = events_in(profile, scope)
    counts = Counter(event.category for event in events if event.category)
    return percent(max(counts.values()), len(events)) if counts else None


def _category_share(profile: Profile, scope: Scope) -> Value | None:
    whole = events_in(profile, Scope(modality=scope.modality, days=scope.days, skip=scope.skip))
    part = [event for event in whole if event.category == scope.category]
    return percent(len(part), len(whole)) if scope.category and whole else None


def _total(profile: Profile, scope: Scope) -> Value | None:
    values = _numbers(profile, scope)
    return round(fsum(values), 2) if values else None


def _mean(profile: Profile, scope: Scope) -> Value | None:
    values = _numbers(profile, scope)
    return round(fsum(values) / len(values), 2) if values else None


def _largest(profile: Profile, scope: Scope) -> Value | None:
    values = _numbers(profile, scope)
    return round(max(values), 2) if values else None


def _top_categories(profile: Profile, scope: Scope) -> Value | None:
    return most_common([event.category for event in events_in(profile, scope)]) or None


def _contents(profile: Profile, scope: Scope) -> Value | None:
    return most_common([event.text for event in events_in(profile, scope)]) or None


def _part_of_day(profile: Profile, scope: Scope) -> Value | None:
    parts = ("night", "morning", "afternoon", "evening")
    return most_common([parts[event.time.hour // 6] for event in events_in(profile, scope)], 1) or None


def _busiest_weekday(profile: Profile, scope: Scope) -> Value | None:
    return most_common([WEEKDAYS[event.day.weekday()] for event in events_in(profile, scope)], 1) or None


def _new_categories(profile: Profile, scope: Scope) -> Value | None:
    if profile.num_days < 2 * RECENT:
        return None
    recent, before = _recent_and_before(profile, scope)
    old = {event.category for event in before}
    return most_common([event.category for event in recent if event.category not in old]) or None


def _lapsed_categories(profile: Profile, scope: Scope) -> Value | None:
    if profile.num_days < 2 * RECENT:
        return None
    recent, before = _recent_and_before(profile, scope)
    alive = {event.category for event in recent}
    return most_common([event.category for event in before if event.category not in alive]) or None


def _main_source(profile: Profile, scope: Scope) -> Value | None:
    return most_common([event.modality for event in events_in(profile, scope)], 1) or None


def _num_sources(profile: Profile, scope: Scope) -> Value:
    return float(len({event.modality for event in events_in(profile, scope)}))


def _numbers(profile: Profile, scope: Scope) -> list[float]:
    return [event.numbers[scope.column] for event in events_in(profile, scope) if scope.column in event.numbers]


def _recent_and_before(profile: Profile, scope: Scope) -> tuple[list[Event], list[Event]]:
    recent = events_in(profile, Scope(modality=scope.modality, days=RECENT))
    before = events_in(profile, Scope(modality=scope.modality, days=profile.num_days, skip=RECENT))
    return recent, before


@dataclass(frozen=True)
class Measure:
    """A function of a profile and its sentence, with places {value}, {s}, {what}, {column} and {when}."""

    function: Function
    sentence: str


MEASURES = {
    "num_events": Measure(_num_events, "The log holds {value} {what} event{s} {when}."),
    "active_days": Measure(_active_days, "There is {what} activity on {value} day{s} {when}."),
    "days_since_last": Measure(_days_since_last, "The newest {what} event is {value} day{s} old."),
    "longest_gap": Measure(_longest_gap, "The longest pause between days with {what} activity is {value} day{s}."),
    "num_categories": Measure(_num_categories, "The {what} events {when} span {value} different kind{s}."),
    "weekend_share": Measure(_weekend_share, "Weekends hold {value} % of the {what} events {when}."),
    "top_share": Measure(_top_share, "The most frequent kind makes up {value} % of the {what} events {when}."),
    "category_share": Measure(_category_share, "Of all events of that source {when}, {value} % are {what} events."),
    "total": Measure(_total, "The {column} of {what} events {when} adds up to {value}."),
    "mean": Measure(_mean, "The {column} of a {what} event {when} is {value} on average."),
    "largest": Measure(_largest, "The largest {column} of a {what} event {when} is {value}."),
    "num_sources": Measure(_num_sources, "Events come from {value} source{s} {when}."),
    "top_categories": Measure(_top_categories, "The most frequent kinds of {what} events {when} are {value}."),
    "contents": Measure(_contents, "The {what} data says: {value}."),
    "part_of_day": Measure(_part_of_day, "Most {what} events {when} fall in the {value}."),
    "busiest_weekday": Measure(_busiest_weekday, "The busiest weekday for {what} events {when} is {value}."),
    "new_categories": Measure(_new_categories, "Recently new in {what} events: {value}."),
    "lapsed_categories": Measure(_lapsed_categories, "Seen earlier in {what} events but gone lately: {value}."),
    "main_source": Measure(_main_source, "Most events {when} are {value} events."),
}


def value_of(profile: Profile, measure: str, scope: Scope) -> Value | None:
    """What the log says about `measure` of `scope`; None if nothing, as of days before the profile."""
    return MEASURES[measure].function(profile, scope) if fits(profile, scope) else None
