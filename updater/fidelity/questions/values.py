"""Counts of values per user, and who can be asked about them.

U users, E events, P pairs of a user and a value, V values that may be asked for.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from updater.fidelity.log.events import Attribute, Bools, Ints, Stream
from updater.fidelity.questions.block import Evidence, newest, number_between

MIN_EVENTS: Final = 5
"""Events of a modality from which on a user is asked about it."""


@dataclass(frozen=True, eq=False)
class Tally:
    """How often users have values: sorted by user, the most frequent value first."""

    owners_P: Ints
    codes_P: Ints
    counts_P: Ints
    num_users: int

    @cached_property
    def offsets_U1(self) -> Ints:
        """Where each user's pairs begin, and the last one's end."""
        return np.searchsorted(self.owners_P, np.arange(self.num_users + 1)).astype(np.int64)

    @cached_property
    def num_distinct_U(self) -> Ints:
        """Different values of each user."""
        return np.diff(self.offsets_U1)

    def nth(self, n: int) -> tuple[Ints, Ints]:
        """Code and count of each user's n-th most frequent value, from 0 on; -1 and 0 for users with fewer."""
        rows_U = self.offsets_U1[:-1] + n
        known_U = rows_U < self.offsets_U1[1:]
        codes_U, counts_U = np.full(self.num_users, -1), np.zeros(self.num_users, np.int64)
        codes_U[known_U] = self.codes_P[rows_U[known_U]]
        counts_U[known_U] = self.counts_P[rows_U[known_U]]
        return codes_U, counts_U

    def mode(self) -> tuple[Ints, Bools]:
        """Each user's most frequent value (-1 without any), and whether no other is as frequent."""
        (codes_U, first_U), (_, second_U) = self.nth(0), self.nth(1)
        return codes_U, first_U > second_U


def tally(owners_E: Ints, codes_E: Ints, num_users: int) -> Tally:
    """Count the values of events; those without a value (-1) do not count."""
    valued = codes_E >= 0
    width = int(codes_E.max(initial=0)) + 1
    pairs_P, counts_P = np.unique(owners_E[valued] * width + codes_E[valued], return_counts=True)
    owners_P, codes_P = np.divmod(pairs_P, width)
    order = np.lexsort((codes_P, -counts_P, owners_P))
    return Tally(owners_P[order], codes_P[order], counts_P[order], num_users)


@dataclass(frozen=True, eq=False)
class Valued:
    """A stream and one of its attributes: who has which value, and in which events."""

    stream: Stream
    attribute: Attribute

    @property
    def num_values(self) -> int:
        """Values that may be asked for."""
        return len(self.attribute.names)

    @cached_property
    def tally(self) -> Tally:
        """Of all buffered events."""
        return tally(self.stream.owners_E, self.attribute.codes_E, self.stream.num_users)

    @cached_property
    def seen_UV(self) -> Bools:
        """Which values users have had."""
        seen = np.zeros((self.stream.num_users, self.num_values), bool)
        askable = self.tally.codes_P < self.num_values
        seen[self.tally.owners_P[askable], self.tally.codes_P[askable]] = True
        return seen

    @cached_property
    def varied_U(self) -> Bools:
        """Users with more than one value: of the others there is nothing to ask."""
        return self.tally.num_distinct_U > 1

    def askable(self, codes: Ints) -> Bools:
        """Whether values may be asked for."""
        return (codes >= 0) & (codes < self.num_values)

    def all_askable(self, codes_QN: Ints) -> Bools:
        """Whether all N values of each question may be asked for."""
        all_Q: Bools = np.logical_and.reduce(self.askable(codes_QN), axis=1)
        return all_Q

    @cached_property
    def order_E(self) -> Ints:
        """Events by user, value and time."""
        return np.lexsort((self.attribute.codes_E, self.stream.owners_E))

    @cached_property
    def _groups_E(self) -> Ints:
        return self._group(self.stream.owners_E, self.attribute.codes_E)[self.order_E]

    def range_of(self, owners_Q: Ints, codes_Q: Ints) -> tuple[Ints, Ints]:
        """The part of `order_E` with the events of a user and a value: first and end."""
        groups_Q = self._group(owners_Q, codes_Q)
        return (
            np.searchsorted(self._groups_E, groups_Q).astype(np.int64),
            np.searchsorted(self._groups_E, groups_Q, side="right").astype(np.int64),
        )

    def range_between(
        self, owners_Q: Ints, codes_Q: Ints, start: int | Ints, end: int | Ints | None = None
    ) -> tuple[Ints, Ints]:
        """The same of the events from `start` up to `end` (None: all later ones), in microseconds since the epoch.

        Both are one number for all, or one for each event.
        """
        first_Q, end_Q = self.range_of(owners_Q, codes_Q)
        before = (self.stream.times_E < start)[self.order_E]
        within_Q = first_Q + number_between(before, first_Q, end_Q)
        if end is None:
            return within_Q, end_Q
        return within_Q, first_Q + number_between((self.stream.times_E < end)[self.order_E], first_Q, end_Q)

    def evidence(self, first_Q: Ints, end_Q: Ints) -> Evidence:
        """That of answers which rest on a range of `order_E`."""
        return newest(self.stream.ids, self.order_E, first_Q, end_Q, self.stream.fresh_E)

    def _group(self, owners: Ints, codes: Ints) -> Ints:
        return owners * (self.attribute.num_codes + 1) + codes + 1


def sift(start_U: Bools, *filters: tuple[str, Bools]) -> tuple[Ints, dict[str, int]]:
    """Positions of those who pass all filters, and how many of the others each filter was the first to remove."""
    kept_U = start_U
    removed: dict[str, int] = {}
    for name, passes_U in filters:
        if lost := int(np.count_nonzero(kept_U & ~passes_U)):
            removed[name] = removed.get(name, 0) + lost
        kept_U = kept_U & passes_U
    return np.flatnonzero(kept_U), removed
