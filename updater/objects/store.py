"""What a store of objects does, whether it is a directory or a bucket."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Held:
    """An object as it was read."""

    content: bytes
    version: str
    """Changes with the object; what `replace` compares."""


class Objects(Protocol):
    """Objects below one root. Names are relative to it, with `/` between their parts.

    A reader finds an object whole or not at all, whoever is writing it. A call whose answer was lost, or that was
    refused for a moment, is made again; whether it had done its work before is found out, so that its result is true.

    Raises:
        ConfigError: the store is not there, or refuses the credentials.
        ServiceUnavailableError: it does not answer.
    """

    def put_new(self, name: str, content: bytes) -> bool:
        """Put an object that nobody has put yet; False, and nothing is changed, if there is one."""

    def put(self, name: str, content: bytes) -> None:
        """Put an object, or replace it."""

    def replace(self, name: str, content: bytes, version: str) -> bool:
        """Replace an object that is still of `version`; False, and nothing is changed, if it is another or gone."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object, over another one if need be. Raises FileNotFoundError without `source`."""

    def get(self, name: str) -> Held:
        """An object. Raises FileNotFoundError if there is none."""

    def list(self, below: str = "") -> dict[str, int]:
        """Names of all objects below the directory `below`, sorted, with their sizes in bytes."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects for good, in all versions that a bucket keeps; those that are not there are passed over."""
