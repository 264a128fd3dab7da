"""What a language model that answers in text has to offer, wherever it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Reply:
    """What the model said, and the tokens of prompt and reply that it cost."""

    text: str
    total_tokens: int


class Speaker(Protocol):
    """A model that is asked one request at a time, or several at a time from several threads."""

    @property
    def model(self) -> str:
        """Its name, which is that of its weights as far as anybody can tell."""

    def request(self, system: str, user: str) -> dict[str, Any]:
        """A request; equal ones ask the same of the same model."""

    def ask(self, request: Mapping[str, Any]) -> Reply:
        """The reply to a request.

        Raises:
            ServiceUnavailableError: it gives none now.
            ConfigError: it refuses the request, so that asking again would not help.
        """

    def close(self) -> None:
        """Let go of connections."""
