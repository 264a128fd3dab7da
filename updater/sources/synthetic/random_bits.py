"""Random numbers that are a function of a key, so that any day can be made again without the days before it.

Integer arithmetic, additions and multiplications only: the results are the same for every numpy version and processor,
which NumPy's own generators and its transcendental functions do not promise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Ints = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def random_bits(*key: Any) -> Bits:
    """64 random bits per element; the key's parts are non-negative integers or arrays that broadcast.

    The finalizer of SplitMix64 (Steele, Lea and Flood 2014), folded over the parts of the key.
    """
    state = np.zeros(1, dtype=np.uint64)
    for part in key:
        state = (state ^ np.asarray(part).astype(np.uint64)) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def uniform(bits: Bits) -> NDArray[np.float64]:
    """Floats in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(bits: Bits, bound: int) -> Ints:
    """Integers in [0, bound), each as likely as the others."""
    return (bits % np.uint64(bound)).astype(np.int64)


def long_tail(bits: Bits, bound: int) -> Ints:
    """Integers in [0, bound), small ones far more often: P(k) falls as k ** (-2/3)."""
    u = uniform(bits)
    return (bound * (u * u * u)).astype(np.int64)
