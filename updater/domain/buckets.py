"""Users are spread over buckets by a hash that never changes: not between runs, machines or Python versions."""

from hashlib import md5


def bucket_of(user_id: str, num_buckets: int) -> int:
    """The bucket of `user_id`: the first eight bytes of its MD5, big-endian, modulo `num_buckets`."""
    return int.from_bytes(md5(user_id.encode(), usedforsecurity=False).digest()[:8], "big") % num_buckets


def is_held_out(user_id: str) -> bool:
    """True for a fifth of the users, always the same ones: nothing is trained on them, so that they show what a model
    does for users it never saw.
    """
    return bucket_of(user_id, 5) == 0
