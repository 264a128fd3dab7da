"""A client of one OpenAI-compatible endpoint: `POST <url>/chat/completions`, tried again while the endpoint is busy.

The key is sent as a bearer token and nowhere else: not in errors, not in logs.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.stop import stop_base

from updater.domain.declared.endpoint import EndpointChoice
from updater.errors import ConfigError, ServiceUnavailableError
from updater.language_models.speaker import Reply

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_BACKOFF = 1.0, 60.0
LONGEST_WAIT = 600.0
"""Seconds. An endpoint that asks for more is asked again by another run."""
MAX_BYTES = 8 << 20
"""Of a response; one that goes on is no reply."""
_MAX_DETAIL = 200


class _Busy(Exception):
    """There was no reply, and another try may have one."""

    def __init__(self, problem: str, asked_wait: float = 0.0) -> None:
        super().__init__(problem)
        self.asked_wait = asked_wait
        """Seconds that the endpoint wants to be left alone."""


class Chat:
    """Asks one model at one endpoint.

    Args:
        choice: endpoint, model, and how to try.
        api_key: bearer token, empty for none.
        sleep: waits for so many seconds.
        jitter: a number in [0, 1), so that clients that failed together do not return together.

    Raises:
        ConfigError: the key cannot be sent in a header, or the URL is none.
    """

    def __init__(
        self,
        choice: EndpointChoice,
        api_key: str = "",
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        api_key = api_key.strip()
        if not all("!" <= character <= "~" for character in api_key):
            raise ConfigError(f"The key in ${choice.api_key_env} has characters that no header may hold; set it anew.")
        self._choice, self._key = choice, api_key
        self._sleep, self._jitter = sleep, jitter
        self._url = f"{choice.url.rstrip('/')}/chat/completions"
        try:
            httpx.URL(self._url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"{choice.table}.url is no URL ({error}); use one such as 'https://host/v1'.") from None
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.Client(headers=headers, timeout=choice.timeout_seconds)

    @property
    def model(self) -> str:
        """The model's name at the endpoint."""
        return self._choice.model

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, system: str, user: str) -> dict[str, Any]:
        """The body of a request; equal bodies ask the same of the same model."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return {"model": self._choice.model, "messages": messages, "temperature": self._choice.temperature}

    def ask(self, request: Mapping[str, Any]) -> Reply:
        """Send a request until there is a reply.

        Raises:
            ServiceUnavailableError: it failed on every try, or the endpoint asks for a longer wait than is sensible.
            ConfigError: the endpoint refuses the request, so that trying again would not help.
        """
        tries = Retrying(
            retry=retry_if_exception_type(_Busy),
            stop=stop_after_attempt(self._choice.max_retries + 1) | _TooLong(),
            wait=self._wait,
            sleep=self._sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            reply: Reply = tries(self._try, request)
        except _Busy as busy:
            asks = f", and asks for a wait of {busy.asked_wait:.0f} s" if busy.asked_wait > LONGEST_WAIT else ""
            raise ServiceUnavailableError(
                f"{self._url} gave no reply in {tries.statistics['attempt_number']} tries ({busy}){asks}; "
                "earlier replies are kept, so run it again once it answers."
            ) from None
        return reply

    def _try(self, request: Mapping[str, Any]) -> Reply:
        """Send a request once. Raises _Busy where trying again may help, and ConfigError where it would not."""
        try:
            with self._client.stream("POST", self._url, json=request) as response:
                content = self._read(response)
        except httpx.RequestError as error:
            raise _Busy(self._clean(f"{type(error).__name__}: {error}")) from None
        reply = _reply(content, request) if response.is_success else None
        if reply is None:
            raise _Busy(self._problem(response, content), retry_after(response.headers))
        return reply

    def _read(self, response: httpx.Response) -> bytes:
        """The body. Raises ReadTimeout where it takes longer than a reply may, drop by drop as well, or goes on."""
        end, content = time.monotonic() + self._choice.timeout_seconds, bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > MAX_BYTES or time.monotonic() > end:
                raise httpx.ReadTimeout(f"no whole reply in {self._choice.timeout_seconds:g} s and {MAX_BYTES:,} bytes")
        return bytes(content)

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next try: what the endpoint asks for, if that is longer than our own."""
        return max(backoff(state.attempt_number - 1, self._jitter()), _failure(state).asked_wait)

    def _tell(self, state: RetryCallState) -> None:
        logger.info("%s: %s; trying again in %.1f s", self._url, _failure(state), state.upcoming_sleep)

    def _problem(self, response: httpx.Response, content: bytes) -> str:
        """What is wrong with a response. Raises ConfigError if it would be wrong again."""
        status = response.status_code
        if response.is_success:
            return f"status {status} without a chat completion"
        problem = self._clean(" ".join(filter(None, (f"status {status}", _message(content)))))
        if status in (408, 429) or status >= 500:
            return problem
        if status in (401, 403):
            way_out = (
                f"check the key in ${self._choice.api_key_env}"
                if self._key
                else f"set {self._choice.table}.api_key_env"
            )
        else:
            way_out = f"check {self._choice.table}.url, {self._choice.table}.model and the limits of the endpoint"
        raise ConfigError(f"{self._url} refuses the request ({problem}); {way_out}.")

    def _clean(self, text: str) -> str:
        """One line, not long, without the key: an endpoint may repeat in a message what it was sent."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:_MAX_DETAIL]


def _failure(state: RetryCallState) -> _Busy:
    """What the last try failed with."""
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, _Busy) else _Busy("no reply")


class _TooLong(stop_base):
    """Ends the tries when the endpoint asks for a longer wait than is sensible."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        return _failure(retry_state).asked_wait > LONGEST_WAIT


def backoff(attempt: int, jitter: float) -> float:
    """Seconds to wait after try number `attempt` (from 0): doubling up to a minute, less up to half of it."""
    longest = min(LONGEST_BACKOFF, FIRST_WAIT * 2.0 ** min(attempt, 30))
    return float(longest * (1 - jitter / 2))


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a `Retry-After` header asks for, 0 without one. A date counts from the response's own `Date`."""
    written = headers.get("Retry-After", "").strip()
    if written.isascii() and written.isdigit():
        return float(written)
    try:
        wanted, sent = parsedate_to_datetime(written), parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (wanted - sent).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def _reply(content: bytes, request: Mapping[str, Any]) -> Reply | None:
    """The reply in the body of a response; None if it is no chat completion. A refusal to speak is an empty text."""
    try:
        body = json.loads(content)
        said = body["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    text = said if isinstance(said, str) else ""
    usage = body.get("usage")
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    if type(total) is not int or total < 1:
        # Endpoints may leave the usage out. Three bytes a token is more than most text has, so a budget still ends.
        spoken = "".join(message["content"] for message in request["messages"]) + text
        total = 1 + len(spoken.encode(errors="replace")) // 3
    return Reply(text, total)


def _message(content: bytes) -> str:
    """`error.message` of a body, the rest of it being no business of a log."""
    try:
        message = json.loads(content)["error"]["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return message if isinstance(message, str) else ""
