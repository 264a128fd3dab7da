"""Who has which events on a day, and on which day they land."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from updater.sources.synthetic.random_bits import Bits, Ints, below, random_bits, uniform
from updater.sources.synthetic.spec import STREAMS, SyntheticSpec

MAX_LAG_DAYS = 7
Arrival = Literal["on_time", "late", "duplicate", "replacement", "deletion"]
_FATES: tuple[Arrival, ...] = ("late", "duplicate", "replacement", "deletion", "on_time")

# First part of every key, so that no two decisions share their random numbers.
_JOIN, _LEAVE, _WEIGHT, _ACTIVE, _COUNT, _ROUND, _EVENT, _FATE, _LAG, _SNAPSHOT = range(10)


@dataclass(frozen=True)
class Events:
    """Events of one stream that happened on one day. All arrays have shape (E,)."""

    day: int
    """Days since the first day of the history."""
    user: Ints
    number: Ints
    """Running number within (user, stream, day)."""
    bits: Bits
    """Random bits of their own for each event."""

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Events":
        return Events(self.day, self.user[chosen], self.number[chosen], self.bits[chosen])


@lru_cache(maxsize=4)
def _lifetimes(spec: SyntheticSpec) -> tuple[Ints, Ints, NDArray[np.float64]]:
    """Per user: first and last possible day, and how much more active than the mean; each of shape (num_users,)."""
    users = np.arange(spec.num_users)
    joins = random_bits(_JOIN, spec.seed, users)
    leaves = random_bits(_LEAVE, spec.seed, users)
    any_day = below(random_bits(joins), spec.num_days)
    first = np.where(uniform(joins) < spec.new_user_share, any_day, 0)
    last_of_silent = first + below(random_bits(leaves), spec.num_days)
    last = np.where(uniform(leaves) < spec.silent_user_share, last_of_silent, spec.num_days)
    return first, last, 0.5 + uniform(random_bits(_WEIGHT, spec.seed, users))


@lru_cache(maxsize=MAX_LAG_DAYS + 1)
def active_users(spec: SyntheticSpec, day: int) -> Ints:
    """Users with events on a day, ascending."""
    first, last, weight = _lifetimes(spec)
    present = np.flatnonzero((first <= day) & (day <= last))
    # Those who are here make up for those who are not, so that the share of all users is the declared one.
    chance = spec.active_share * spec.num_users / max(len(present), 1) * weight[present]
    active: Ints = present[uniform(random_bits(_ACTIVE, spec.seed, day, present)) < chance]
    return active


@lru_cache(maxsize=MAX_LAG_DAYS + 1)
def _events_of_day(spec: SyntheticSpec, day: int) -> dict[str, Events]:
    users = active_users(spec, day)
    means = np.array([getattr(spec.events_per_active_day, stream) for stream in STREAMS])
    key = spec.seed, day, users[:, None], np.arange(len(STREAMS))[None, :]
    counts = (2 * means * uniform(random_bits(_COUNT, *key)) + uniform(random_bits(_ROUND, *key))).astype(np.int64)
    # An active user has at least one event.
    counts[counts.sum(axis=1) == 0, 0] = 1
    events = {}
    for position, stream in enumerate(STREAMS):
        num = counts[:, position]
        user = np.repeat(users, num)
        number = np.arange(len(user)) - np.repeat(np.cumsum(num) - num, num)
        events[stream] = Events(day, user, number, random_bits(_EVENT, spec.seed, position, day, user, number))
    return events


def arrivals(spec: SyntheticSpec, day: int, stream: str) -> list[tuple[Arrival, Events]]:
    """The rows of a stream that land on a day: its own events, then what older days still send."""
    bounds = list(accumulate((spec.late_share, spec.duplicate_share, spec.replace_share, spec.delete_share)))
    groups: list[tuple[Arrival, Events]] = []
    for lag in range(min(MAX_LAG_DAYS, day) + 1):
        events = _events_of_day(spec, day - lag)[stream]
        fate = np.searchsorted(bounds, uniform(random_bits(_FATE, events.bits)), side="right")
        wait = 1 + below(random_bits(_LAG, events.bits), MAX_LAG_DAYS)
        if lag == 0:
            groups.append(("on_time", events[fate != _FATES.index("late")]))
        for position, arrival in enumerate(_FATES[:-1]):
            # The second copy may come with the first, in the same file.
            days_waited = wait - 1 if arrival == "duplicate" else wait
            groups.append((arrival, events[(fate == position) & (days_waited == lag)]))
    return groups


def snapshot_users(spec: SyntheticSpec, day: int, snapshot: str) -> Ints:
    """Active users whose snapshot lands again on a day, ascending."""
    users = active_users(spec, day)
    key = random_bits(_SNAPSHOT, *snapshot.encode())
    restated: Ints = users[
        uniform(random_bits(key, spec.seed, day, users)) < getattr(spec.events_per_active_day, snapshot)
    ]
    return restated
