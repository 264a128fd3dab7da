"""Facets: how often, how recently and with what weight each value of a modality occurs among a user's events.

A weight is 2^-(age / half-life), as in AlignXplore+'s setting of a profile that is kept up to date (arXiv 2601.04963),
except that the age is counted from the user's newest event: so nothing changes while nothing happens. Ages are whole
days and weights whole numbers, and whole numbers add up to the same sum in any order and on any machine.
"""

# U users, N events, F facets of one modality

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

DAY = 86_400_000_000
"""Microseconds."""
NEVER = np.iinfo(np.int64).min
"""Newest event time of a user without events that have times."""
UNIT = 1 << 24
"""Weight of an event that is as new as the user's newest one."""
DAYS_PER_TABLE = 100


@dataclass(frozen=True)
class CountedEvents:
    """Events of U users in one modality, those of a user in the order of their times."""

    modality: str
    is_state: bool
    """A snapshot: its rows are a state and have no times."""
    values: Sequence[str]
    """Distinct values, cleaned and sorted."""
    num_users: int
    user_N: Int64
    """User of each event, ascending."""
    value_N: Int64
    """Position of its value."""
    time_N: Int64
    """Microseconds since the epoch; 0 in a state."""


@dataclass(frozen=True)
class Facets:
    """Each value that a user has in a modality, by user and value."""

    events: CountedEvents
    user_F: Int64
    value_F: Int64
    count_F: Int64
    long_F: Int64
    """Long-term weight; of a state the count."""
    short_F: Int64
    """Recent weight; of a state the count."""
    first_F: Int64
    last_F: Int64

    @cached_property
    def shares_F(self) -> npt.NDArray[np.float64]:
        """Per facet its share of the user's long-term weight and that of the recent weight, added."""
        shares: npt.NDArray[np.float64] = self.long_F / self.total(self.long_F) + self.short_F / self.total(
            self.short_F
        )
        return shares

    def total(self, values_F: Int64) -> Int64:
        """Per facet the sum of `values_F` over all facets of its user."""
        sums: Int64 = _sum(self.user_F, values_F, self.events.num_users)[self.user_F]
        return sums


def count_facets(events: CountedEvents, newest_U: Int64, long_half_life: float, short_half_life: float) -> Facets:
    """Count the facets of one modality.

    Args:
        events: the events.
        newest_U: each user's newest event time over all modalities, in microseconds; `NEVER` without any.
        long_half_life: days.
        short_half_life: days.
    """
    keys = events.user_N * len(events.values) + events.value_N
    order = np.argsort(keys, kind="stable")
    found_F, start_F, facet_N, count_F = np.unique(
        keys[order], return_index=True, return_inverse=True, return_counts=True
    )
    times = events.time_N[order]
    if events.is_state:
        long_F = short_F = count_F.astype(np.int64)
    else:
        age_N = (newest_U[events.user_N[order]] - times) // DAY
        num_days = (int(age_N.max(initial=0)) // DAYS_PER_TABLE + 1) * DAYS_PER_TABLE
        long_F, short_F = (
            _sum(facet_N, weights(half_life, num_days)[age_N], len(found_F))
            for half_life in (long_half_life, short_half_life)
        )
    width = max(len(events.values), 1)
    return Facets(
        events=events,
        user_F=found_F // width,
        value_F=found_F % width,
        count_F=count_F.astype(np.int64),
        long_F=long_F,
        short_F=short_F,
        first_F=times[start_F],
        last_F=times[start_F + count_F - 1],
    )


@lru_cache(maxsize=64)
def weights(half_life: float, num_days: int) -> Int64:
    """Weight of an event by its age in whole days, rounded to whole `1 / UNIT`. Decimal's powers are the same on every
    machine, those of a processor's float64 need not be.
    """
    days = range(num_days)
    return np.array([int((Decimal(2) ** (-day / Decimal(half_life)) * UNIT).to_integral_value()) for day in days])


def _sum(groups: Int64, values: Int64, num_groups: int) -> Int64:
    """Sums by group; whole numbers below 2^53 add up exactly in float64."""
    return np.bincount(groups, weights=values, minlength=num_groups).astype(np.int64)
