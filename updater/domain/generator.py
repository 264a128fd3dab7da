"""Who writes the questions and answers of the training data, as the config says."""

from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from annotated_types import Interval

from updater.domain.values import AtLeastOne, Checked
from updater.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GeneratorChoice(Checked, table="generator"):
    """The log alone, or a language model behind an OpenAI-compatible endpoint."""

    kind: Literal["log", "llm"] = "log"
    """`log`: the topics' own questions, answers computed from the log. `llm`: a language model writes both."""
    url: str = ""
    """Base URL of the endpoint, to which `/chat/completions` is added."""
    model: str = ""
    """The model's name at the endpoint."""
    api_key_env: str = ""
    """Name of the environment variable that holds the endpoint's key, empty for none. A config never holds the key."""
    max_tokens_total: AtLeastOne = 1_000_000
    """Tokens of prompts and replies that one run may use; replies that are kept cost nothing when it is run again."""
    temperature: Annotated[float, Interval(ge=0, le=2)] = 0.7
    """Of the model's sampling."""
    timeout_seconds: Annotated[float, Interval(gt=0, le=86_400)] = 120.0
    """Longest silence of the endpoint in a request."""
    max_retries: Annotated[int, Interval(ge=0, le=100)] = 5
    """Further tries of a request that met an overloaded or failing endpoint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "llm" and not self.model:
            raise ConfigError("generator.kind is 'llm', but generator.model is empty; name the endpoint's model.")
        if self.url or self.kind == "llm":
            _check_url(self.url)
        if self.api_key_env:
            _check_variable(self.api_key_env)


def _check_url(url: str) -> None:
    # Neither of the messages repeats the value, as it may contain a key.
    try:
        parts = urlsplit(url)
        is_base = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_base = False
    if not is_base:
        raise ConfigError("generator.url is not an endpoint URL; use one such as 'https://host/v1'.")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            "generator.url has more in it than host and path; put the key into the environment variable that "
            "generator.api_key_env names, and nothing but the base such as 'https://host/v1' here."
        )


def _check_variable(name: str) -> None:
    if not (name.isidentifier() and name.isascii()):
        raise ConfigError(
            "generator.api_key_env is not the name of an environment variable; name one, such as 'LLM_API_KEY'."
        )
    if name.upper().startswith("UPDATER_"):
        raise ConfigError(
            f"generator.api_key_env is {name!r}, but variables named UPDATER_… override config values; "
            "use a name without that prefix."
        )
