"""Mailings at a fixed interval, and answers: how soon the last one came predicts whether the next mailing is answered.

A user's hidden mode moves at each mailing. Modes that answer equally often differ in how soon, and in where they lead.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from updater.sources.population.renewal import Floats
from updater.sources.synthetic.random_bits import Ints, random_bits, uniform

# First part of a key.
_START, _MOVE, _ANSWER = range(220, 223)


@dataclass(frozen=True, eq=False)
class Response:
    """J modes; a mailing on days 0, interval, 2 × interval, …; answers come before the next mailing."""

    interval: int
    """Days."""
    move: Floats
    """Chance of the mode at the next mailing, given the one at this; shape (J, J)."""
    delays: Floats
    """Chance of an answer d days after a mailing, d < interval, in a mode; shape (J, interval). No row sums to 1."""

    @property
    def start(self) -> Floats:
        """Stationary chance of the modes; shape (J,)."""
        chance = np.full(len(self.move), 1.0 / len(self.move))
        for _ in range(10_000):
            chance = chance @ self.move
        return np.asarray(chance)

    def sample(self, num_days: int, *key: int | Ints) -> NDArray[np.bool_]:
        """Days with an answer of independent users, the last part of the key; shape (num_days, users)."""
        users = np.asarray(key[-1])
        answers = np.zeros((num_days, len(users)), bool)
        mode = _draw(np.tile(self.start, (len(users), 1)), random_bits(_START, *key))
        for number, sent in enumerate(range(0, num_days, self.interval)):
            delay = _draw(self.delays[mode], random_bits(_ANSWER, number, *key))
            inside = np.flatnonzero((delay < self.interval) & (sent + delay < num_days))
            answers[sent + delay[inside], inside] = True
            mode = _draw(self.move[mode], random_bits(_MOVE, number, *key))
        return answers

    def next_within(self, answers: NDArray[np.bool_], start: int, horizon: int) -> Floats:
        """P(an answer within `horizon` days after the window | the answers of the window), by forward filtering.

        Args:
            answers: days of the window, shape (days, users).
            start: day on which the window begins, counted from the first mailing.
            horizon: days.

        Returns:
            Shape (users,).
        """
        end = start + len(answers)
        first = start // self.interval * self.interval  # of a mailing before the window late answers may lie in it
        belief = np.tile(self.start, (answers.shape[1], 1))
        silent = belief
        for sent in range(first, end + horizon, self.interval):
            if sent > first:
                belief, silent = belief @ self.move, silent @ self.move
            low = max(start - sent, 0)
            high = max(min(end - sent, self.interval), low)
            if high > low:
                belief = belief * self._likelihood(answers[sent + low - start : sent + high - start], low)
                belief = belief / belief.sum(axis=1, keepdims=True)
                silent = belief
            # What may still come of this mailing, unless the window holds an answer to it.
            ahead = self.delays[:, max(end - sent, 0) : max(end + horizon - sent, 0)].sum(axis=1)
            stays = 1.0 - ahead / (1.0 - self.delays[:, low:high].sum(axis=1))
            seen = np.asarray(answers[sent + low - start : sent + high - start].any(axis=0))
            silent = silent * np.where(seen[:, None], 1.0, stays)
        return np.asarray(1.0 - silent.sum(axis=1))

    def _likelihood(self, answers: NDArray[np.bool_], low: int) -> Floats:
        """Of the answers to one mailing that fall into the window, by mode; shape (users, J)."""
        high = low + len(answers)
        none = 1.0 - self.delays[:, low:high].sum(axis=1)
        delay = low + answers.argmax(axis=0)
        return np.where(np.asarray(answers.any(axis=0))[:, None], self.delays[:, delay].T, none)


def _draw(chances: Floats, bits: NDArray[np.uint64]) -> Ints:
    """A number per row; the number of columns if the row's sum is less than the draw."""
    drawn: Ints = (uniform(bits)[:, None] >= chances.cumsum(axis=1)).sum(axis=1)
    return drawn
