"""Which language model keeps texts of users beside the rules' (docs/profile.md), as the config says."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from updater.domain.declared.endpoint import check_key_variable, check_url
from updater.domain.values import AtLeastOne, Checked
from updater.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ProfileWriter(Checked, table="profile.language_model"):
    """A language model behind an OpenAI-compatible endpoint, or one that runs here. Raises ConfigError for neither."""

    enabled: bool = False
    """True: `updater profile update` keeps a text of each changed user in `user_text_profile_llm_v1`."""
    url: str = ""
    """Base URL of the endpoint, to which `/chat/completions` is added; empty for a local model."""
    model: str = ""
    """The model's name at the endpoint, or a local one: packaged name (smollm2), directory or Hugging Face id."""
    api_key_env: str = ""
    """Name of the environment variable that holds the endpoint's key, empty for none. A config never holds the key."""
    temperature: Annotated[float, Interval(ge=0, le=2)] = 0.0
    """Of the endpoint's sampling; a local model takes the likeliest token each time."""
    timeout_seconds: Annotated[float, Interval(gt=0, le=86_400)] = 60.0
    """Longest time that a reply may take, from the request to its last byte."""
    max_retries: Annotated[int, Interval(ge=0, le=100)] = 2
    """Further tries of a request that met an overloaded or failing endpoint."""
    concurrency: Annotated[int, Interval(ge=1, le=256)] = 4
    """Requests that are under way at a time; a local model answers one at a time."""
    max_users: AtLeastOne = 1000
    """Users who are asked about for a day: of those who changed, always the same ones by their ids' hash."""
    max_new_tokens: AtLeastOne = 512
    """Longest reply of a local model, in its own tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.enabled and not self.model:
            raise ConfigError(
                f"{self.table}.enabled is true, but {self.table}.model is empty; name the endpoint's model, or a local "
                "one such as 'smollm2'."
            )
        if self.url:
            check_url(self.url, self.table)
        if self.api_key_env:
            check_key_variable(self.api_key_env, self.table)
