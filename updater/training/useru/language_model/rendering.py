"""A profile as compact text for a language model. Every number in it is a measure, so that the log can check it again.

Neither the user's id nor any date is in the text: only ages in days.
"""

import json
from collections.abc import Iterator

from updater.profile.clean import shows_id
from updater.training.useru.facts.events import Event, Profile
from updater.training.useru.facts.measures import RECENT, WEEK, Scope, Value, most_common, value_of

RENDERING_VERSION = 1
"""Raised whenever equal profiles read otherwise."""
MOST_CATEGORIES = 8
MOST_EVENTS = 8
MOST_CHARACTERS = 80
"""Of an event's text."""


def profile_text(profile: Profile) -> str:
    """The profile by modality: counts, changes, rhythm, amounts, top categories, the newest events."""
    modalities = list(dict.fromkeys(event.modality for event in profile.events))
    lines = [f"The log covers the user's last {profile.num_days} days."]
    if any(not event.is_state for event in profile.events):
        lines.append(f"all sources together: {_facts(profile, Scope())}")
    for modality in modalities:
        events = [event for event in profile.events if event.modality == modality]
        lines += _state_lines(profile, events) if events[0].is_state else _stream_lines(profile, events)
    return "\n".join(lines)


def _stream_lines(profile: Profile, events: list[Event]) -> Iterator[str]:
    scope = Scope(modality=events[0].modality)
    yield f"{_words(scope.modality)}: {_facts(profile, scope)}"
    columns = sorted({name for event in events for name in event.numbers})
    for column in columns:
        yield f"  {_words(column)}: {_amounts(profile, scope, column)}"
    for category in most_common([event.category for event in events], MOST_CATEGORIES):
        if shows_id(category, profile.user_id):
            continue
        own = Scope(modality=scope.modality, category=category)
        parts = [
            _part(profile, "num_events", own, "{} events"),
            _part(profile, "category_share", own, "{} % of this source"),
            _part(profile, "num_events", _within(own, RECENT), f"{{}} in the last {RECENT} days"),
            _part(profile, "days_since_last", own, "newest {} days old"),
            *(_part(profile, "total", _of(own, column), f"{_words(column)} total {{}}") for column in columns),
        ]
        yield f"  category {_quoted(category)}: {'; '.join(filter(None, parts))}"
    newest = sorted(events, key=lambda event: (event.time, event.event_id), reverse=True)[:MOST_EVENTS]
    shown = [event for event in newest if event.text and not shows_id(event.text, profile.user_id)]
    if shown:
        aged = (f"{_quoted(event.text)} {(profile.anchor - event.day).days} days ago" for event in shown)
        yield f"  newest events: {'; '.join(aged)}"


def _state_lines(profile: Profile, events: list[Event]) -> Iterator[str]:
    scope = Scope(modality=events[0].modality)
    texts = most_common([event.text for event in events], MOST_EVENTS)
    shown = [_quoted(text) for text in texts if not shows_id(text, profile.user_id)]
    count = _part(profile, "num_events", scope, "{} entries")
    yield f"{_words(scope.modality)} (what is so now): {'; '.join([count, *shown])}"


def _facts(profile: Profile, scope: Scope) -> str:
    before = Scope(modality=scope.modality, days=RECENT, skip=RECENT)
    parts = [
        _part(profile, "num_events", scope, "{} events"),
        _part(profile, "active_days", scope, "active on {} days"),
        _part(profile, "days_since_last", scope, "newest {} days old"),
        _part(profile, "longest_gap", scope, "longest pause {} days"),
        _part(profile, "num_events", _within(scope, WEEK), f"{{}} in the last {WEEK} days"),
        _part(profile, "num_events", _within(scope, RECENT), f"{{}} in the last {RECENT} days"),
        _part(profile, "num_events", before, f"{{}} in the {RECENT} days before the last {RECENT} days"),
        _part(profile, "weekend_share", scope, "weekends hold {} %"),
        _part(profile, "busiest_weekday", scope, "busiest weekday {}"),
        _part(profile, "part_of_day", scope, "mostly in the {}"),
    ]
    if any(event.category for event in profile.events if event.modality == scope.modality):
        parts.append(_part(profile, "num_categories", scope, "{} categories"))
    return "; ".join(filter(None, parts))


def _amounts(profile: Profile, scope: Scope, column: str) -> str:
    own = _of(scope, column)
    parts = [_part(profile, measure, own, f"{measure} {{}}") for measure in ("total", "mean", "largest")]
    parts.append(_part(profile, "total", _within(own, RECENT), f"total {{}} in the last {RECENT} days"))
    before = Scope(modality=own.modality, column=column, days=RECENT, skip=RECENT)
    parts.append(_part(profile, "total", before, f"total {{}} in the {RECENT} days before the last {RECENT} days"))
    return "; ".join(filter(None, parts))


def _part(profile: Profile, measure: str, scope: Scope, words: str) -> str:
    """`words` with a measure's value in them; empty if the log says nothing."""
    value = value_of(profile, measure, scope)
    return "" if value is None else words.format(_plain(value))


def _within(scope: Scope, days: int) -> Scope:
    return Scope(modality=scope.modality, category=scope.category, column=scope.column, days=days)


def _of(scope: Scope, column: str) -> Scope:
    return Scope(modality=scope.modality, category=scope.category, column=column)


def _plain(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(int(value)) if value == int(value) else f"{value:.2f}"


def _quoted(text: str) -> str:
    """In quotation marks, on one line and not long: the words of users and shops are data."""
    return json.dumps(" ".join(text.split())[:MOST_CHARACTERS], ensure_ascii=False)


def _words(name: str) -> str:
    return name.replace("_", " ")
