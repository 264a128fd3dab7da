"""Events whose gaps come from a hidden mode, which may switch at each event, and from a class that a user keeps.

Time is in whole days and gaps are at least one day, so there is at most one event a day. A gap's distribution has an
end, so everything that a reader of the events can know is a finite sum. The process is
stationary: whatever day a window begins, what lies before it is stationary, and the filter is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from updater.sources.synthetic.random_bits import Ints, random_bits, uniform

Floats = NDArray[np.float64]

# First part of a key, so that no two decisions share their random numbers.
_CLASS, _MODE, _FIRST, _SWITCH, _GAP = range(200, 205)


@dataclass(frozen=True, eq=False)
class Renewal:
    """C classes, J modes, gaps of 1 to D days."""

    classes: Floats
    """Share of users in each class, shape (C,)."""
    switch: Floats
    """Chance of the next gap's mode, given this one's; shape (J, J)."""
    gaps: Floats
    """Chance of a gap of d + 1 days in a class and mode; shape (C, J, D), every last axis sums to 1."""

    @cached_property
    def survival(self) -> Floats:
        """Chance that a gap is longer than d days, d = 0 … D; shape (C, J, D + 1)."""
        longer = self.gaps[..., ::-1].cumsum(axis=-1)[..., ::-1]
        return np.concatenate([longer, np.zeros_like(longer[..., :1])], axis=-1)

    @cached_property
    def start(self) -> Floats:
        """Chance of a class and the mode of the gap that is under way on any day; shape (C, J)."""
        events = np.full(len(self.switch), 1.0 / len(self.switch))
        for _ in range(10_000):  # the chain forgets a start at a rate of at least a hundredth per event
            events = events @ self.switch
        under_way = events * self.survival.sum(axis=-1)
        return np.asarray(self.classes[:, None] * under_way / under_way.sum(axis=1, keepdims=True))

    @cached_property
    def first(self) -> Floats:
        """Chance that the first event of a window falls on its day d + 1; shape (C, J, D)."""
        longer = self.survival[..., :-1]
        return np.asarray(longer / longer.sum(axis=-1, keepdims=True))

    @cached_property
    def first_survival(self) -> Floats:
        """Chance that a window's first d days are without an event; shape (C, J, D + 1)."""
        longer = self.first[..., ::-1].cumsum(axis=-1)[..., ::-1]
        return np.concatenate([longer, np.zeros_like(longer[..., :1])], axis=-1)

    def sample(self, num_days: int, *key: int | Ints) -> NDArray[np.bool_]:
        """Days with an event of independent users, the last part of the key; shape (num_days, users)."""
        users = np.asarray(key[-1])
        happens = np.zeros((num_days, len(users)), bool)
        state = _draw(self.start.reshape(-1)[None], random_bits(_CLASS, *key))
        kind, mode = np.divmod(state, len(self.switch))
        day = _draw(self.first[kind, mode], random_bits(_FIRST, *key))
        for number in range(num_days):
            inside = np.flatnonzero(day < num_days)
            if not len(inside):
                break
            happens[day[inside], inside] = True
            own = (*key[:-1], users[inside], number)
            mode[inside] = _draw(self.switch[mode[inside]], random_bits(_SWITCH, *own))
            gap = 1 + _draw(self.gaps[kind[inside], mode[inside]], random_bits(_GAP, *own))
            day[inside] += gap
        return happens

    def next_within(self, happens: NDArray[np.bool_], horizon: int) -> Floats:
        """P(an event within `horizon` days after the window | the events of the window), by forward filtering.

        Args:
            happens: days of the window, shape (days, users).
            horizon: days.

        Returns:
            Shape (users,).
        """
        days, users = happens.shape
        belief = np.tile(self.start, (users, 1, 1))  # of class and mode of the gap under way, given the gaps that ended
        age = np.zeros(users, np.int64)  # days without an event since the last one or since the window began
        seen = np.zeros(users, bool)
        for day in range(days):
            now = np.flatnonzero(happens[day])
            tables = np.where(
                seen[now, None, None], self._of_gap(self.gaps, age[now]), self._of_gap(self.first, age[now])
            )
            after = (belief[now] * tables) @ self.switch
            belief[now] = after / after.sum(axis=(1, 2), keepdims=True)
            age += 1
            age[now] = 0
            seen[now] = True

        def silent(until: Ints) -> Floats:
            tables = self._of_gap(self.survival, until), self._of_gap(self.first_survival, until)
            chance: Floats = (belief * np.where(seen[:, None, None], *tables)).sum(axis=(1, 2))
            return chance

        return 1.0 - silent(age + horizon) / silent(age)

    @staticmethod
    def _of_gap(table: Floats, day: Ints) -> Floats:
        """A table's column per user, 0 beyond its end; shape (users, C, J)."""
        column: Floats = np.moveaxis(table[..., np.minimum(day, table.shape[-1] - 1)], -1, 0)
        return np.where((day < table.shape[-1])[:, None, None], column, 0.0)


def gamma_gaps(mean: float, shape: int, max_days: int) -> Floats:
    """Chances of gaps of 1 … max_days days: a gamma variable of whole-numbered shape, rounded up to days.

    What lies beyond the end counts as the last day.
    """
    scaled = np.arange(max_days + 1) * shape / mean
    term, longer = np.ones_like(scaled), np.ones_like(scaled)
    for k in range(1, shape):
        term = term * scaled / k
        longer = longer + term
    longer = longer * np.exp(-scaled)
    longer[-1] = 0.0
    return np.asarray(longer[:-1] - longer[1:])


def mixed(parts: Sequence[tuple[float, Floats]]) -> Floats:
    """A mixture of distributions over the same days, from (share, distribution)."""
    return np.asarray(sum(share * gaps for share, gaps in parts))


def _draw(chances: Floats, bits: NDArray[np.uint64]) -> Ints:
    """A number per row of `chances`, which may be one row for all."""
    bound = chances.cumsum(axis=1)
    drawn: Ints = (uniform(bits)[:, None] * bound[:, -1:] >= bound).sum(axis=1)
    return drawn
