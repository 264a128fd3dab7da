"""What to ask about: a pool of topics made from the config's modalities, and the ones that fit a profile."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log1p

from updater.domain.declared.modality import Modality
from updater.domain.fingerprint import fingerprint
from updater.training.useru.facts.events import Profile
from updater.training.useru.facts.measures import RECENT, WEEK, Scope, fits

TOPICS_PER_PROFILE = 10
"""As many as the paper retrieves from its pool for each profile."""

# Per aspect the question and the measures that answer it: the measure, the days and the days skipped.
_Aspects = dict[str, tuple[str, tuple[tuple[str, int, int], ...]]]

_STREAM: _Aspects = {
    "volume": ("How much {name} activity does the user show?", (("num_events", 0, 0), ("active_days", 0, 0))),
    "week": ("What has the user's {name} activity been in the last week?", (("num_events", WEEK, 0),)),
    "month": (
        "How much {name} activity has the user shown lately?",
        (("num_events", RECENT, 0), ("active_days", RECENT, 0)),
    ),
    "trend": (
        "Is the user's {name} activity growing or shrinking?",
        (("num_events", RECENT, 0), ("num_events", RECENT, RECENT)),
    ),
    "recency": ("When did the user last show {name} activity?", (("days_since_last", 0, 0), ("num_events", WEEK, 0))),
    "gaps": ("How steady is the user's {name} activity?", (("longest_gap", 0, 0), ("active_days", 0, 0))),
    "part_of_day": ("At what time of day is the user active in {name}?", (("part_of_day", 0, 0),)),
    "weekend": ("Is the user's {name} activity a matter of weekends?", (("weekend_share", 0, 0),)),
    "weekday": ("Which weekday matters most for the user's {name} activity?", (("busiest_weekday", 0, 0),)),
    "rhythm": (
        "What does a usual week of the user's {name} activity look like?",
        (("busiest_weekday", 0, 0), ("part_of_day", 0, 0), ("active_days", 0, 0)),
    ),
}
_CATEGORIZED: _Aspects = {
    "favourites": ("What does the user prefer in {name}?", (("top_categories", 0, 0), ("top_share", 0, 0))),
    "tastes_now": ("What has the user preferred lately in {name}?", (("top_categories", RECENT, 0),)),
    "variety": ("How varied are the user's {name} events?", (("num_categories", 0, 0), ("top_share", 0, 0))),
    "variety_trend": (
        "Does the user's choice in {name} widen or narrow?",
        (("num_categories", RECENT, 0), ("num_categories", RECENT, RECENT)),
    ),
    "novelty": ("What has the user begun with lately in {name}?", (("new_categories", 0, 0),)),
    "lapsed": ("What has the user given up lately in {name}?", (("lapsed_categories", 0, 0),)),
}
_NUMERIC: _Aspects = {
    "sum": ("What is the user's {column} in {name} altogether?", (("total", 0, 0), ("mean", 0, 0))),
    "size": ("How large is the {column} of the user's {name} events?", (("mean", 0, 0), ("largest", 0, 0))),
    "sum_trend": (
        "How does the {column} of the user's {name} events develop?",
        (("total", RECENT, 0), ("total", RECENT, RECENT)),
    ),
}
_SNAPSHOT: _Aspects = {
    "contents": ("What does the {name} data say about the user?", (("contents", 0, 0),)),
    "amount": ("How much {name} data is there about the user?", (("num_events", 0, 0),)),
}
_OVERALL: _Aspects = {
    **{name: _STREAM[name] for name in ("volume", "month", "trend", "recency", "gaps", "weekend", "rhythm")},
    "sources": ("Where is the user active?", (("main_source", 0, 0), ("num_sources", 0, 0))),
    "sources_now": ("Where has the user been active lately?", (("main_source", RECENT, 0), ("num_sources", RECENT, 0))),
}
_ONE_CATEGORY: _Aspects = {
    "share": (
        "How important is {category} among the user's {name} events?",
        (("num_events", 0, 0), ("category_share", 0, 0)),
    ),
    "interest": (
        "Is the user's interest in {category} {name} events alive?",
        (("days_since_last", 0, 0), ("num_events", RECENT, 0)),
    ),
}


@dataclass(frozen=True)
class Topic:
    """One thing to ask about a user."""

    name: str
    """Unique in its pool, e.g. `trip.volume`."""
    aspect: str
    scope: Scope
    """What the topic is about, over the whole profile."""
    question: str
    parts: tuple[tuple[str, Scope], ...]
    """Measures that answer it."""


def topic_pool(modalities: Sequence[Modality], categories: Iterable[tuple[str, str]] = ()) -> tuple[Topic, ...]:
    """All topics of a config: 10 to 16 for each stream, 3 for each of its numeric columns, 2 for each snapshot and
    9 for all streams together.

    Args:
        modalities: as declared.
        categories: pairs of a modality and one of its categories that get 2 topics of their own.
    """
    pool = list(_topics(_OVERALL, Scope()))
    for modality in modalities:
        scope = Scope(modality=modality.name)
        if modality.kind == "snapshot":
            pool += _topics(_SNAPSHOT, scope)
            continue
        pool += _topics(_STREAM, scope)
        if modality.category:
            pool += _topics(_CATEGORIZED, scope)
        for column in modality.numeric:
            pool += _topics(_NUMERIC, Scope(modality=modality.name, column=column))
    for name, category in sorted(set(categories)):
        pool += _topics(_ONE_CATEGORY, Scope(modality=name, category=category))
    return tuple(pool)


def most_relevant(pool: Sequence[Topic], profile: Profile, count: int = TOPICS_PER_PROFILE) -> list[Topic]:
    """The topics with most events to speak of, best first; none that asks about days before the profile.

    Greedy: log(1 + events) over 1 + topics already chosen from the same scope and over 1 + those of the same aspect.
    Equal scores are broken by a digest of user, anchor day and topic, so that users differ in their topics.
    """
    support: Counter[tuple[str, str]] = Counter()
    for event in profile.events:
        support[event.modality, ""] += 1
        if event.category:
            support[event.modality, event.category] += 1
        if not event.is_state:
            support["", ""] += 1
    tie = {topic.name: fingerprint(profile.user_id, profile.anchor, topic.name) for topic in pool}
    left = {
        topic.name: topic
        for topic in pool
        if support[topic.scope.modality, topic.scope.category] and all(fits(profile, scope) for _, scope in topic.parts)
    }
    scopes: Counter[tuple[str, str]] = Counter()
    aspects: Counter[str] = Counter()

    def rank(topic: Topic) -> tuple[float, str]:
        scope = topic.scope.modality, topic.scope.category
        return -log1p(support[scope]) / (1 + scopes[scope]) / (1 + aspects[topic.aspect]), tie[topic.name]

    chosen: list[Topic] = []
    while left and len(chosen) < count:
        topic = left.pop(min(left.values(), key=rank).name)
        scopes[topic.scope.modality, topic.scope.category] += 1
        aspects[topic.aspect] += 1
        chosen.append(topic)
    return chosen


def _topics(aspects: _Aspects, scope: Scope) -> list[Topic]:
    words = {
        "name": scope.modality.replace("_", " ") or "overall",
        "category": scope.category,
        "column": scope.column.replace("_", " "),
    }
    prefix = ".".join(filter(None, (scope.modality or "overall", scope.category, scope.column)))
    return [
        Topic(
            name=f"{prefix}.{aspect}",
            aspect=aspect,
            scope=scope,
            question=question.format(**words),
            parts=tuple(
                (
                    measure,
                    Scope(modality=scope.modality, category=scope.category, column=scope.column, days=days, skip=skip),
                )
                for measure, days, skip in measures
            ),
        )
        for aspect, (question, measures) in aspects.items()
    ]
