"""The generator that the config names."""

import os
from collections.abc import Mapping

from updater.domain.declared.endpoint import key_of
from updater.errors import ConfigError
from updater.settings import Settings
from updater.training.useru.answers import Generator, LogGenerator


def make_generator(settings: Settings, environ: Mapping[str, str] | None = None) -> Generator:
    """The generator of `[generator]`; a language model's replies are kept in `<state>/training/llm`.

    Raises:
        ConfigError: the key's environment variable is not set, or the package that a language model needs is missing.
    """
    choice = settings.generator
    if choice.kind == "log":
        return LogGenerator()
    try:
        from updater.language_models.chat import Chat
        from updater.training.useru.language_model.generator import LlmGenerator
        from updater.training.useru.language_model.replies import Replies
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"generator.kind 'llm' needs the package {error.name!r}; run `pip install 'updater[endpoint]'`."
        ) from None
    key = key_of(choice, os.environ if environ is None else environ)
    return LlmGenerator(Chat(choice, key), Replies.of(settings), choice.max_tokens_total)
