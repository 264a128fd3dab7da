"""What everybody of a population does on every day: the four kinds of behaviour, drawn from the seed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from updater.sources.population import kinds
from updater.sources.population.spec import PopulationSpec
from updater.sources.population.vocabulary import NEEDS, STEPS
from updater.sources.synthetic.random_bits import Ints, below, random_bits

# First part of a key.
_NEEDS, _ORDER, _REGIMES, _RESPONSE, _CATEGORY = range(230, 235)

Days = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Behaviour:
    """Days first and users last in every array, so that a day's rows lie together."""

    fed: Days
    """Whether a need was fed; shape (days, needs, users)."""
    steps: Days
    """A, B and C of each chain; shape (days, chains, 3, users)."""
    visits: Days
    """Shape (days, users)."""
    answers: Days
    """Shape (days, users)."""

    def until(self, day: int, history_days: int) -> "Behaviour":
        """The last days up to and with `day`: what a reader knows who keeps `history_days`."""
        window = slice(max(day + 1 - history_days, 0), day + 1)
        return Behaviour(self.fed[window], self.steps[window], self.visits[window], self.answers[window])


@lru_cache(maxsize=1)
def behaviour(spec: PopulationSpec) -> Behaviour:
    """Draw it: 0.2 GB for 20,000 users and half a year. Kept for the last spec."""
    users = np.arange(spec.num_users)
    fed = np.zeros((spec.num_days, len(NEEDS), spec.num_users), bool)
    for need in range(len(NEEDS)):
        fed[:, need] = kinds.needs().sample(spec.num_days, _NEEDS, spec.seed, need, users)
    steps = np.zeros((spec.num_days, len(STEPS), 3, spec.num_users), bool)
    for chain in range(len(STEPS)):
        steps[:, chain] = kinds.order().sample(spec.num_days, _ORDER, spec.seed, chain, users)
    visits = kinds.regimes().sample(spec.num_days, _REGIMES, spec.seed, users)
    answers = kinds.response().sample(spec.num_days, _RESPONSE, spec.seed, users)
    return Behaviour(fed, steps, visits, answers)


def categories(spec: PopulationSpec, day: int, need: Ints, user: Ints) -> Ints:
    """Which of a need's categories fed it: each of them as likely as the others."""
    num = np.array([len(words) for words in NEEDS.values()])[need]
    bits = random_bits(_CATEGORY, spec.seed, day, need, user)
    drawn: Ints = (bits % num.astype(np.uint64)).astype(np.int64)
    return drawn


def mailed(spec: PopulationSpec, day: int) -> bool:
    """Whether everybody is mailed on a day."""
    return 0 <= day < spec.num_days and day % kinds.response().interval == 0


def second_of_day(spec: PopulationSpec, modality: int, day: int, number: Ints, user: Ints) -> Ints:
    """A time of day that says nothing."""
    return below(random_bits(_CATEGORY + 1, spec.seed, modality, day, number, user), 86_400)
