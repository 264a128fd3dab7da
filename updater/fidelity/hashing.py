"""Numbers drawn by hash: equal on every machine and in every run, whatever the order in which questions are made.

A question's key is mixed from those of its user and its slot, and not from the day: a user who is asked again later is
asked the same slots, so that days can be compared.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from updater.domain.buckets import bucket_of

Keys = NDArray[np.uint64]
_TRAIN_OF_TEN = 7
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def text_keys(texts: Iterable[str]) -> Keys:
    """A 64-bit key of each text: the first eight bytes of its BLAKE2b, big-endian."""
    digests = (blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest() for text in texts)
    return np.array([int.from_bytes(digest) for digest in digests], np.uint64)


def mix(keys: Keys) -> Keys:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014) on each key: every bit depends on every bit."""
    mixed = keys + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def combined(first: Keys, second: Keys) -> Keys:
    """A key of each pair; the two broadcast."""
    return mix(mix(first) ^ second)


def uniform(keys: Keys) -> NDArray[np.float64]:
    """Each key as a number in [0, 1)."""
    return (mix(keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def is_train(user_id: str) -> bool:
    """True for seven tenths of the users, always the same ones: readers are fitted to them, and the others are scored.

    A hash of its own decides, so that each bucket, and the users whom models are not trained on, are split alike.
    """
    return bucket_of(f"fidelity-train:{user_id}", 10) < _TRAIN_OF_TEN


def sample(users: Iterable[str], most: int | None) -> list[str]:
    """At most `most` of the users (None: all), sorted; a larger sample holds every smaller one."""
    known = sorted(users)
    if most is None or len(known) <= most:
        return known
    return sorted(sorted(known, key=lambda user: (bucket_of(f"fidelity-sample:{user}", 1 << 64), user))[:most])
