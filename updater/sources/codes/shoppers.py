"""When users order, what, and for how much.

A user joins on any day before or in the log, orders at a rate of their own with a heavy tail, spends at a level that
goes with the rate, and on each ordering day may leave for good: so how recently, how often and for how much a user
ordered all say something of whether the user comes again.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from updater.sources.codes.spec import CodesSpec
from updater.sources.synthetic.random_bits import Ints, below, long_tail, random_bits, uniform

Floats = NDArray[np.float64]

_LEAVES = 0.45
"""Chance of leaving after an ordering day, of those who spend little; of those who spend most it is a sixth of it."""
_DAYS_BEFORE = 60
"""Days before the log on which users may have joined already."""
_MAX_LINES = 12

# First part of a key, so that no two decisions share their random numbers.
_RATE, _SPEND, _JOIN, _ACTIVE, _LEAVE, _LINES, _PRODUCT, _PRICE, _OWN, _HABIT, _CODE = range(300, 311)


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines of one day's orders, sorted by user and product; one of each product at most. Shape (lines,)."""

    user: Ints
    product: Ints
    cents: Ints


@lru_cache(maxsize=1)
def ordering_days(spec: CodesSpec) -> NDArray[np.bool_]:
    """Days on which users order, shape (num_days, users). Kept for the last spec."""
    users = np.arange(spec.num_users)
    rate, spend = _traits(spec, users)
    join = below(random_bits(_JOIN, spec.seed, users), _DAYS_BEFORE + spec.num_days) - _DAYS_BEFORE
    orders = np.zeros((spec.num_days, spec.num_users), bool)
    here = np.ones(spec.num_users, bool)
    for day in range(-_DAYS_BEFORE, spec.num_days):
        key = spec.seed, day + _DAYS_BEFORE, users
        # Who joins orders on that day.
        active = here & ((join == day) | ((join < day) & (uniform(random_bits(_ACTIVE, *key)) < rate)))
        if day >= 0:
            orders[day] = active
        here &= ~(active & (uniform(random_bits(_LEAVE, *key)) < _LEAVES * (1.2 - spend) / 1.2))
    return orders


def lines_of_day(spec: CodesSpec, day: int) -> Lines:
    """What is ordered on a day."""
    buyers = np.flatnonzero(ordering_days(spec)[day])
    num = 1 + long_tail(random_bits(_LINES, spec.seed, day, buyers), _MAX_LINES)
    user = np.repeat(buyers, num)
    number = np.arange(len(user)) - np.repeat(np.cumsum(num) - num, num)
    bits = random_bits(_PRODUCT, spec.seed, day, user, number)
    # Half of the lines are of three products that the user orders again and again.
    own = long_tail(random_bits(_OWN, spec.seed, user, below(bits, 3)), spec.num_products)
    habitual = uniform(random_bits(_HABIT, bits)) < 0.5
    product = np.where(habitual, own, long_tail(random_bits(bits), spec.num_products))
    user, product = np.divmod(np.unique(user * spec.num_products + product), spec.num_products)
    spend = _traits(spec, user)[1]
    # A price of 1 to some hundreds with a heavy tail, at up to three times as much for those who spend more.
    u = uniform(random_bits(_PRICE, spec.seed, product))
    cents = (100 * (1 + 2 * spend) / (1.002 - u)).astype(np.int64)
    return Lines(user, product, cents)


def codes(spec: CodesSpec) -> list[str]:
    """The products' codes: no two alike, and nothing in a code says which product is like which."""
    bits = random_bits(_CODE, spec.seed, np.arange(spec.num_products)) >> np.uint64(36)
    return [f"{int(part):07X}-{number:04d}" for number, part in enumerate(bits)]


def _traits(spec: CodesSpec, users: Ints) -> tuple[Floats, Floats]:
    """Chance of ordering on a day, most of them low and a few very high; and how much is spent, 0 to 1."""
    u = uniform(random_bits(_RATE, spec.seed, users))
    rate = 0.02 / (1.02 - u)
    spend = 0.5 * u + 0.5 * uniform(random_bits(_SPEND, spec.seed, users))
    return np.minimum(rate, 0.6), spend
