"""Sending requests: several at a time, each once, and no more after an endpoint has failed again and again."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

from updater.errors import ConfigError, ServiceUnavailableError
from updater.language_models.speaker import Speaker

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Requests in a row without a reply, after which the endpoint is asked no more in this run."""


class Asker:
    """Asks a model, and remembers how that went.

    One request that fails costs its user the text of a day and nothing more: its prompt may be longer than the model
    takes. After `MAX_FAILURES` in a row nobody else waits for what is not there.

    Args:
        speaker: the model.
        concurrency: requests that are under way at a time.
    """

    def __init__(self, speaker: Speaker, concurrency: int) -> None:
        self._speaker, self._concurrency = speaker, concurrency
        self._lock, self._in_a_row = Lock(), 0
        self.num_asked = 0
        """Requests that there was a reply to."""
        self.num_failed = 0
        self.last_error: ServiceUnavailableError | ConfigError | None = None

    @property
    def has_given_up(self) -> bool:
        """True once the endpoint is asked no more."""
        return self._in_a_row >= MAX_FAILURES

    def ask(self, requests: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """The replies to requests, in their order; None where there is none."""
        with ThreadPoolExecutor(self._concurrency) as threads:
            return list(threads.map(self._ask, requests))

    def _ask(self, request: Mapping[str, Any]) -> str | None:
        if self.has_given_up:
            return None
        try:
            reply = self._speaker.ask(request).text
        except (ServiceUnavailableError, ConfigError) as error:
            logger.info("no reply about a user: %s", error)
            with self._lock:
                self.num_failed, self._in_a_row, self.last_error = self.num_failed + 1, self._in_a_row + 1, error
            return None
        with self._lock:
            self.num_asked, self._in_a_row = self.num_asked + 1, 0
        return reply
