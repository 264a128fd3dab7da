"""An OpenAI-compatible endpoint, as tables of the config name one."""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from updater.errors import ConfigError


class EndpointChoice(Protocol):
    """What a table of the config says of an endpoint."""

    @property
    def table(self) -> str:
        """Name of the table, for messages."""

    @property
    def url(self) -> str:
        """Base URL, to which `/chat/completions` is added."""

    @property
    def model(self) -> str:
        """The model's name at the endpoint."""

    @property
    def api_key_env(self) -> str:
        """Name of the environment variable that holds the key, empty for none."""

    @property
    def temperature(self) -> float:
        """Of the model's sampling."""

    @property
    def timeout_seconds(self) -> float:
        """Longest time that a reply may take."""

    @property
    def max_retries(self) -> int:
        """Further tries of a request that met an overloaded or failing endpoint."""


def check_url(url: str, table: str) -> None:
    """Raise ConfigError if `url` is no base URL of an endpoint. No message repeats it, as it may contain a key."""
    try:
        parts = urlsplit(url)
        is_base = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_base = False
    if not is_base:
        raise ConfigError(f"{table}.url is not an endpoint URL; use one such as 'https://host/v1'.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"{table}.url has more in it than host and path; put the key into the environment variable that "
            f"{table}.api_key_env names, and nothing but the base such as 'https://host/v1' here."
        )


def check_key_variable(name: str, table: str) -> None:
    """Raise ConfigError if `name` is not that of an environment variable that may hold a key."""
    if not (name.isidentifier() and name.isascii()):
        raise ConfigError(
            f"{table}.api_key_env is not the name of an environment variable; name one, such as 'LLM_API_KEY'."
        )
    if name.upper().startswith("UPDATER_"):
        raise ConfigError(
            f"{table}.api_key_env is {name!r}, but variables named UPDATER_… override config values; "
            "use a name without that prefix."
        )


def key_of(choice: EndpointChoice, environ: Mapping[str, str]) -> str:
    """The endpoint's key from the environment, empty for none. Raises ConfigError if the variable is not set."""
    if not choice.api_key_env:
        return ""
    key = environ.get(choice.api_key_env, "").strip()
    if not key:
        raise ConfigError(
            f"{choice.table}.api_key_env names ${choice.api_key_env}, which is not set; set it to the endpoint's key, "
            f"or leave {choice.table}.api_key_env empty for an endpoint without one."
        )
    return key
