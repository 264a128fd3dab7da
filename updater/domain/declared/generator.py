"""Who writes the questions and answers of the training data, as the config says."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from updater.domain.declared.endpoint import check_key_variable, check_url
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
    """Longest time that a reply may take, from the request to its last byte."""
    max_retries: Annotated[int, Interval(ge=0, le=100)] = 5
    """Further tries of a request that met an overloaded or failing endpoint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "llm" and not self.model:
            raise ConfigError("generator.kind is 'llm', but generator.model is empty; name the endpoint's model.")
        if self.url or self.kind == "llm":
            check_url(self.url, self.table)
        if self.api_key_env:
            check_key_variable(self.api_key_env, self.table)
