"""Erased users, known by keyed hashes only: enough to keep their rows out, too little to say who they were."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

HASH_BYTES = 32


def erasure_hash(salt: str, user_id: str) -> str:
    """BLAKE2b of `user_id` (RFC 7693), keyed with the ledger's salt (64 hexadecimal digits), as hexadecimal digits."""
    return blake2b(user_id.encode(), key=bytes.fromhex(salt), digest_size=HASH_BYTES).hexdigest()


@dataclass(frozen=True)
class Erased:
    """The users that were erased up to some instant; users are only ever added."""

    salt: str = ""
    hashes: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, user_id: object) -> bool:
        return bool(self.hashes) and erasure_hash(self.salt, str(user_id)) in self.hashes

    def among(self, user_ids: Iterable[str]) -> set[str]:
        """Those of `user_ids` that were erased."""
        return {user for user in user_ids if user in self} if self.hashes else set()
