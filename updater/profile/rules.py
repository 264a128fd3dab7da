"""Rules: which facets a profile mentions, and as what.

A value is mentioned only if it rests on `MIN_EVENTS` events; but for `recently` two of them have to lie a day or more
apart, because what somebody bought a lot of in one visit is no habit. Of a modality with times it is

- `regularly` if it has a large share of the long-term weight and occurred within the long half-life,
- `recently` if it has a large share of the recent weight, occurred within two short half-lives, and is not regular,
- `no longer` if it is a large share of all events and occurred not within the long half-life.

`shifted` names two values: the one with the largest long-term weight, and the one with the largest recent weight, where
they differ and the second has at least twice the recent weight of the first. A state has its values as they are.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from updater.domain.declared.profile import ProfileChoice
from updater.profile.clean import quoted
from updater.profile.facets import DAY, Facets, Int64

MIN_EVENTS = 2
MAX_VALUES = 3
"""Values of a kind that a modality mentions."""
CHANGE_FACTOR = 2
"""How many times the recent weight of the former value the new one has to have."""
PER_MILLE = 1000

Mask = npt.NDArray[np.bool_]


class Kind(StrEnum):
    """What is said of a value, in the words of the text and in their order."""

    REGULAR = "regularly"
    RECENT = "recently"
    SHIFTED = "shifted"
    STOPPED = "no longer"
    STATE = "currently"


class Mention(NamedTuple):
    """A piece of a profile that is mentioned or left out as a whole."""

    rank: int
    """0 for the first of its modality and kind."""
    kind: Kind
    modality: int
    """Position among the modalities."""
    words: str
    facets: tuple[int, ...]
    """What it rests on: positions among the modality's facets."""

    @property
    def goes_on(self) -> bool:
        """Whether it speaks for its last value as one that is to be expected: all but `no longer` do."""
        return self.kind is not Kind.STOPPED


def mentions(all_facets: Sequence[Facets], newest_U: Int64, choice: ProfileChoice) -> list[list[Mention]]:
    """All that may be said of each user.

    Args:
        all_facets: per modality.
        newest_U: each user's newest event time, in microseconds.
        choice: half-lives and thresholds.
    """
    found: list[list[Mention]] = [[] for _ in newest_U]
    for modality, facets in enumerate(all_facets):
        made = _of_state(facets, modality) if facets.events.is_state else _of_stream(facets, modality, newest_U, choice)
        for user, mention in made:
            found[user].append(mention)
    return found


def _of_state(facets: Facets, modality: int) -> Iterator[tuple[int, Mention]]:
    everything = np.ones(len(facets.user_F), bool)
    yield from _ranked(facets, modality, Kind.STATE, everything, facets.count_F)


def _of_stream(facets: Facets, modality: int, newest_U: Int64, choice: ProfileChoice) -> Iterator[tuple[int, Mention]]:
    silence_F = newest_U[facets.user_F] - facets.last_F
    came_back = facets.last_F - facets.first_F >= DAY
    is_over = silence_F > round(choice.long_half_life_days * DAY)
    regular = came_back & ~is_over & _has_share(facets, facets.long_F, choice.min_long_share)
    recent = (facets.count_F >= MIN_EVENTS) & (silence_F <= round(2 * choice.short_half_life_days * DAY))
    recent &= ~regular & _has_share(facets, facets.short_F, choice.min_recent_share)
    stopped = came_back & is_over & _has_share(facets, facets.count_F, choice.min_long_share)
    yield from _ranked(facets, modality, Kind.REGULAR, regular, facets.long_F)
    yield from _ranked(facets, modality, Kind.RECENT, recent, facets.short_F)
    yield from _shifted(facets, modality, regular | stopped, came_back & (regular | recent))
    yield from _ranked(facets, modality, Kind.STOPPED, stopped, facets.count_F)


def _has_share(facets: Facets, weight_F: Int64, share: float) -> Mask:
    has: Mask = weight_F * PER_MILLE >= round(share * PER_MILLE) * facets.total(weight_F)
    return has


def _shifted(facets: Facets, modality: int, before: Mask, after: Mask) -> Iterator[tuple[int, Mention]]:
    """The users whose first value by recent weight is another than by long-term weight."""
    old_by_user = dict(_first_of_each(facets, facets.count_F >= MIN_EVENTS, facets.long_F))
    new_by_user = dict(_first_of_each(facets, facets.count_F >= MIN_EVENTS, facets.short_F))
    for user, old in old_by_user.items():
        new = new_by_user[user]
        is_more = facets.short_F[new] >= CHANGE_FACTOR * facets.short_F[old]
        if new != old and before[old] and after[new] and is_more:
            words = f"from {_words(facets, old)} to {_words(facets, new)}"
            yield user, Mention(0, Kind.SHIFTED, modality, words, (old, new))


def _first_of_each(facets: Facets, mask: Mask, weight_F: Int64) -> Iterator[tuple[int, int]]:
    for user, _, facet in _order(facets, mask, weight_F, 1):
        yield user, facet


def _ranked(facets: Facets, modality: int, kind: Kind, mask: Mask, weight_F: Int64) -> Iterator[tuple[int, Mention]]:
    for user, rank, facet in _order(facets, mask, weight_F, MAX_VALUES):
        yield user, Mention(rank, kind, modality, _words(facets, facet), (facet,))


def _order(facets: Facets, mask: Mask, weight_F: Int64, most: int) -> Iterator[tuple[int, int, int]]:
    """User, rank and facet of those in `mask`, `most` of each user: by weight, and by value where weights are equal."""
    chosen = np.flatnonzero(mask)
    chosen = chosen[np.lexsort((facets.value_F[chosen], -weight_F[chosen], facets.user_F[chosen]))]
    users = facets.user_F[chosen]
    starts = np.flatnonzero(np.diff(users, prepend=-1))
    sizes = np.diff(starts, append=len(chosen))
    ranks = np.arange(len(chosen)) - np.repeat(starts, sizes)
    first = ranks < most
    yield from zip(users[first].tolist(), ranks[first].tolist(), chosen[first].tolist(), strict=True)


def _words(facets: Facets, facet: int) -> str:
    return quoted(facets.events.values[facets.value_F[facet]])
