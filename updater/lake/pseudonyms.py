"""Pseudonyms: a keyed hash takes the place of a user's id where rows of the lake are read, and nowhere later.

The pseudonym of an id is its HMAC-SHA256 (RFC 2104, FIPS 198-1) in 64 lower-case hexadecimal digits; the message is the
id in UTF-8, the key the value of the environment variable in UTF-8. Whoever holds the key can compute it in any
language or database, and join by it.
"""

import hmac
import os
from collections.abc import Mapping
from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from updater.errors import ConfigError
from updater.settings import Settings

MIN_KEY_BYTES = 32
"""Shorter keys could be guessed: whoever has a pseudonym and a list of possible ids can try keys."""
_MARK = b"\0updater: fingerprint of a pseudonymisation key"


class Pseudonyms:
    """The pseudonyms under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"Pseudonyms(fingerprint={self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """Distinguishes keys and reveals nothing of one: a MAC of a constant, 16 hexadecimal digits."""
        return self._mac(_MARK)[:16]

    def of(self, user_id: str) -> str:
        """The pseudonym of a user's id."""
        return self._mac(user_id.encode(errors="surrogateescape"))

    def column(self, values: pa.ChunkedArray) -> pa.Array:
        """A column of ids (strings or bytes) as pseudonyms; null and empty stay as they are, to be rejected as such."""
        array = values.combine_chunks()
        if pt.is_dictionary(array.type):
            array = array.dictionary_decode()
        ids = pc.dictionary_encode(array.cast(pa.large_binary()))
        hashed = [self._mac(raw) if raw else "" for raw in ids.dictionary.to_pylist()]
        return pa.array(hashed, pa.string()).take(ids.indices)

    def _mac(self, message: bytes) -> str:
        return hmac.new(self._key, message, sha256).hexdigest()


def pseudonyms(settings: Settings, environ: Mapping[str, str] | None = None) -> Pseudonyms | None:
    """The pseudonyms of a config; None if it keeps ids as they are.

    Raises:
        ConfigError: the environment variable that `privacy.key_env` names is not set, or its key is too short.
    """
    if not settings.privacy.pseudonymize:
        return None
    name = settings.privacy.key_env
    key = (os.environ if environ is None else environ).get(name, "").encode(errors="surrogateescape")
    if not key:
        raise ConfigError(f"privacy.pseudonymize needs a key in ${name}, which is not set; set it in every process.")
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"The key in ${name} is shorter than {MIN_KEY_BYTES} bytes; make one with `openssl rand -hex 32`."
        )
    return Pseudonyms(key)


def known_id(settings: Settings, user_id: str) -> str:
    """The id by which the state and Feast know the user whom the lake calls `user_id`. Raises ConfigError."""
    hashes = pseudonyms(settings)
    return hashes.of(user_id) if hashes else user_id
