"""Users are spread over buckets by a hash that never changes: not between runs, machines or Python versions."""

from hashlib import md5


def bucket_of(user_id: str, num_buckets: int) -> int:
    """The bucket of `user_id`: the first eight bytes of its MD5, big-endian, modulo `num_buckets`."""
    return int.from_bytes(md5(user_id.encode(), usedforsecurity=False).digest()[:8], "big") % num_buckets
