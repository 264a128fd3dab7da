"""What a language model is told of a user, and may speak of: counted values, each under an id.

Ages are counted from the user's newest event, so there is neither a date nor a clock in what the model reads.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from updater.domain.declared.profile import ProfileChoice
from updater.profile.clean import shows_id
from updater.profile.facets import DAY, Facets
from updater.profile.rules import MIN_EVENTS

MAX_FACETS = 12
"""Values of a modality that the model is told of: what the former text names first, then by weight."""

Key = tuple[str, str]
"""A modality and a value of it."""
Seen = tuple[int, int]
"""How many events a value had, and the newest one's time in microseconds."""


@dataclass(frozen=True)
class KnownFacet:
    """A value of the log that a text may name."""

    id: str
    """`<modality>.<number>`, of this request only."""
    modality: str
    source: str
    """What the text calls the modality."""
    value: str
    """Cleaned (see `clean.clean`)."""
    events: int
    events_before: int
    """When the former text was written; 0 without one."""
    long_percent: int
    """Share of the modality's long-term weight; of a state, of its rows."""
    recent_percent: int
    """The same of the recent weight."""
    last_days: int | None
    """Whole days from its newest event to the user's newest one; None for a state."""
    is_over: bool
    """It did not occur within the long half-life."""
    is_recent: bool
    """It occurred within two short half-lives, or is a state."""

    @property
    def key(self) -> Key:
        """What it is beyond this request."""
        return self.modality, self.value


def counts_of(all_facets: Sequence[Facets], user: int) -> dict[Key, Seen]:
    """What the log has of a user, by modality and value: what tomorrow's is compared with.

    Args:
        all_facets: per counted modality.
        user: position of the user in them.
    """
    return {
        (facets.events.modality, facets.events.values[facets.value_F[at]]): (
            int(facets.count_F[at]),
            int(facets.last_F[at]),
        )
        for facets in all_facets
        for at in _rows_of(facets, user)
    }


def known_facets(
    all_facets: Sequence[Facets],
    user: int,
    newest: int,
    choice: ProfileChoice,
    before: Mapping[Key, Seen] | None = None,
    named: Collection[Key] = (),
    user_id: str = "",
) -> tuple[KnownFacet, ...]:
    """The values that a model is told of: with a former text those that changed since, and those that it names.

    A value of a stream rests on at least two events. One that shows the user's id is left out.

    Args:
        all_facets: per counted modality.
        user: position of the user in them.
        newest: the user's newest event time, in microseconds.
        choice: half-lives and wording.
        before: of `counts_of`, as of the former text; None without one.
        named: what the former text names.
        user_id: the user's id, which no value may show.
    """
    found: list[KnownFacet] = []
    for facets in all_facets:
        modality, is_state = facets.events.modality, facets.events.is_state
        rows = _rows_of(facets, user)
        total_long, total_short = int(facets.long_F[rows].sum()), int(facets.short_F[rows].sum())
        told: list[tuple[bool, int, str, int]] = []
        for at in rows.tolist():
            value = facets.events.values[facets.value_F[at]]
            key, seen = (modality, value), (int(facets.count_F[at]), int(facets.last_F[at]))
            is_known = is_state or seen[0] >= MIN_EVENTS
            is_told = key in named or before is None or before.get(key) != seen
            if is_known and is_told and not (user_id and shows_id(value, user_id)):
                weight = _percent(facets.long_F[at], total_long) + _percent(facets.short_F[at], total_short)
                told.append((key not in named, -weight, value, at))
        for number, (_, _, value, at) in enumerate(sorted(told)[:MAX_FACETS], start=1):
            silence = newest - int(facets.last_F[at])
            found.append(
                KnownFacet(
                    id=f"{modality}.{number}",
                    modality=modality,
                    source=choice.noun(modality),
                    value=value,
                    events=int(facets.count_F[at]),
                    events_before=(before or {}).get((modality, value), (0, 0))[0],
                    long_percent=_percent(facets.long_F[at], total_long),
                    recent_percent=_percent(facets.short_F[at], total_short),
                    last_days=None if is_state else silence // DAY,
                    is_over=not is_state and silence > round(choice.long_half_life_days * DAY),
                    is_recent=is_state or silence <= round(2 * choice.short_half_life_days * DAY),
                )
            )
    return tuple(found)


def _rows_of(facets: Facets, user: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    first, last = np.searchsorted(facets.user_F, [user, user + 1])
    return np.arange(first, last)


def _percent(weight: int, total: int) -> int:
    return int(weight) * 100 // total if total else 0
