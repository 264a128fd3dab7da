"""A chain of three steps: B within some days after A makes C ten times as likely for some weeks, A after B does not.

A and B come each day with the same chance, so their counts say nothing about their order. The state is how long ago the
last A was and how long C stays raised; at a window's beginning, where nobody knows it, it is stationary.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from updater.sources.population.renewal import Floats
from updater.sources.synthetic.random_bits import Ints, random_bits, uniform

_USERS_AT_A_TIME = 2000
# First part of a key.
_CLASS, _STEP = 210, 211
_WARM_UP_DAYS = 60
"""Days before the first one, which nobody sees: after `within + raised_days` the start is stationary."""

Steps = NDArray[np.bool_]
"""A, B and C on each day; shape (days, 3, users)."""


@dataclass(frozen=True, eq=False)
class Order:
    """Chances per day; `base` and `classes` have shape (G,): users keep how likely C is by itself."""

    step_chance: float
    """Of A, and of B."""
    base: Floats
    """Of C when it is not raised."""
    classes: Floats
    """Share of users with each base."""
    factor: float
    """By which C is raised."""
    within: int
    """Days after A in which B counts: A on day t and B on t + 1 … t + within."""
    raised_days: int
    """Days after such a B on which C is raised."""

    @cached_property
    def chance(self) -> Floats:
        """Of C by class and days that it stays raised; shape (G, raised_days + 1)."""
        raised = np.arange(self.raised_days + 1) > 0
        return np.asarray(self.base[:, None] * np.where(raised, self.factor, 1.0))

    @cached_property
    def start(self) -> Floats:
        """Stationary chance of (days since A, days raised); shape (within + 1, raised_days + 1); 0 days means no A."""
        state = np.zeros((1, self.within + 1, self.raised_days + 1))
        state[0, 0, 0] = 1.0
        for _ in range(self.within + self.raised_days + 1):  # after that nothing is left of the first state
            state = self._mixture(state)
        return np.asarray(state[0])

    def sample(self, num_days: int, *key: int | Ints) -> Steps:
        """Steps of independent users, the last part of the key; shape (num_days, 3, users)."""
        users = np.asarray(key[-1])
        bounds = self.classes.cumsum() / self.classes.sum()
        kind = np.searchsorted(bounds, uniform(random_bits(_CLASS, *key)), side="right")
        since, raised = np.zeros(len(users), np.int64), np.zeros(len(users), np.int64)
        steps = np.zeros((num_days, 3, len(users)), bool)
        warm_up = max(_WARM_UP_DAYS, self.within + self.raised_days)
        for day in range(-warm_up, num_days):
            draws = [uniform(random_bits(_STEP, step, day + warm_up, *key)) for step in range(3)]
            a, b = draws[0] < self.step_chance, draws[1] < self.step_chance
            if day >= 0:
                steps[day] = a, b, draws[2] < self.chance[kind, raised]
            raised = np.where(b & (since > 0), self.raised_days, np.maximum(raised - 1, 0))
            since = np.where(a, 1, np.where((since > 0) & (since < self.within), since + 1, 0))
        return steps

    def next_within(self, steps: Steps, horizon: int) -> Floats:
        """P(C within `horizon` days after the window | the window's steps), by forward filtering; shape (users,)."""
        silent = np.ones((len(self.base), self.within + 1, self.raised_days + 1))
        for _ in range(horizon):
            silent = (1 - self.chance[:, None, :]) * self._expected(silent)
        parts = [
            self._belief(steps[:, :, begin : begin + _USERS_AT_A_TIME])
            for begin in range(0, steps.shape[2], _USERS_AT_A_TIME)
        ]
        return 1.0 - np.concatenate([np.einsum("ugsr,gsr->u", belief, silent) for belief in parts])

    def _belief(self, steps: Steps) -> Floats:
        """Posterior of class and state after the window; shape (users, G, within + 1, raised_days + 1)."""
        belief = np.tile(self.classes[:, None, None] / self.classes.sum() * self.start, (steps.shape[2], 1, 1, 1))
        for a, b, c in steps:
            chance = np.where(c[:, None, None], self.chance, 1 - self.chance)
            belief *= chance[:, :, None, :]
            for first in (False, True):
                for second in (False, True):
                    users = np.flatnonzero((a == first) & (b == second))
                    belief[users] = self._moved(belief[users], first, second)
            belief /= belief.sum(axis=(1, 2, 3), keepdims=True)
        return belief

    def _moved(self, state: Floats, a: bool, b: bool) -> Floats:
        """Mass of states (…, since, raised) a day later, given whether A and B happened on the day."""
        raised = np.zeros_like(state)
        raised[..., :-1] = state[..., 1:]
        raised[..., 0] += state[..., 0]
        if b:
            raised[..., 1:, :] = 0.0
            raised[..., 1:, -1] = state[..., 1:, :].sum(axis=-1)
        since = np.zeros_like(raised)
        if a:
            since[..., 1, :] = raised.sum(axis=-2)
            return since
        since[..., 2:, :] = raised[..., 1:-1, :]
        since[..., 0, :] = raised[..., 0, :] + raised[..., -1, :]
        return since

    def _mixture(self, state: Floats) -> Floats:
        """Mass of states a day later, when nobody looks at A and B."""
        p = self.step_chance
        return np.asarray(
            sum(
                (p if a else 1 - p) * (p if b else 1 - p) * self._moved(state, a, b)
                for a in (False, True)
                for b in (False, True)
            )
        )

    def _expected(self, value: Floats) -> Floats:
        """Expected value of the state a day later, by state; the transpose of `_mixture`."""
        since, raised = np.arange(self.within + 1), np.arange(self.raised_days + 1)
        older = np.where((since > 0) & (since < self.within), since + 1, 0)
        lower = np.maximum(raised - 1, 0)
        p = self.step_chance

        def given_a(a: bool) -> Floats:
            row = np.full_like(since, 1) if a else older
            after_b = np.where(since[:, None] > 0, value[:, row, -1:], value[:, row][:, :, lower])
            return np.asarray(p * after_b + (1 - p) * value[:, row][:, :, lower])

        return p * given_a(True) + (1 - p) * given_a(False)
