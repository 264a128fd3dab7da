"""Users are spread over buckets by a hash that never changes: not between runs, machines or Python versions."""

from collections.abc import Sequence
from hashlib import md5

HELD_OUT = "held-out:"
"""Stands before an id where it is hashed to hold users out; part of the recipe of all that is trained."""


def bucket_of(user_id: str, num_buckets: int) -> int:
    """The bucket of `user_id`: the first eight bytes of its MD5, big-endian, modulo `num_buckets`."""
    return int.from_bytes(md5(user_id.encode(), usedforsecurity=False).digest()[:8], "big") % num_buckets


def runs(loads: Sequence[int], num_runs: int) -> list[list[int]]:
    """Buckets 0, 1, … in at most `num_runs` runs of neighbours, of which the largest has as little load as can be.

    Args:
        loads: the load of each bucket.
        num_runs: a run has a bucket or more, so there may be fewer runs.
    """
    weights = [load + 1 for load in loads]  # a bucket without load costs a little too
    low, high = max(weights), sum(weights)
    while low < high:
        most = (low + high) // 2
        if len(_filled(weights, most)) <= num_runs:
            high = most
        else:
            low = most + 1
    return _filled(weights, low)


def _filled(weights: Sequence[int], most: int) -> list[list[int]]:
    found: list[list[int]] = [[]]
    total = 0
    for bucket, weight in enumerate(weights):
        if total + weight > most and found[-1]:
            found.append([])
            total = 0
        found[-1].append(bucket)
        total += weight
    return found


def is_held_out(user_id: str) -> bool:
    """True for a fifth of the users, always the same ones: nothing is trained on them, so that they show what a model
    does for users it never saw.

    A hash of its own decides, so that every bucket has its share of them. Where pseudonyms are used, `user_id` is the
    pseudonym.
    """
    return bucket_of(f"{HELD_OUT}{user_id}", 5) == 0


def is_sampled(user_id: str, share: float) -> bool:
    """True for about `share` (0 to 1) of the users, always the same ones; a larger share holds all of a smaller one."""
    return bucket_of(f"sampled:{user_id}", _SAMPLES) < share * _SAMPLES


def is_validation(user_id: str) -> bool:
    """True for a tenth of the users, always the same ones, by a hash of its own: the loss on them chooses the weights
    where no day does.
    """
    return bucket_of(f"validation:{user_id}", 10) == 0


_SAMPLES = 1_000_000
