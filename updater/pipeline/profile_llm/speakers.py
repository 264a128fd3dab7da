"""The language model that the config names."""

import os
from collections.abc import Mapping

from updater.domain.declared.endpoint import key_of
from updater.errors import ConfigError
from updater.language_models.speaker import Speaker
from updater.runtime.device import model_device
from updater.settings import Settings


def open_speaker(settings: Settings, environ: Mapping[str, str] | None = None) -> Speaker:
    """The model of `[profile.language_model]`: at the endpoint if there is a URL, else one that computes here, on
    `[model] device`.

    Raises:
        ConfigError: the key's environment variable is not set, a package is missing, or there is no such local model.
    """
    choice = settings.profile.language_model
    if not choice.url:
        from updater.language_models.local import LocalSpeaker

        return LocalSpeaker(choice.model, choice.max_new_tokens, model_device(settings))
    try:
        from updater.language_models.chat import Chat
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{choice.table}.url needs the package {error.name!r}; run `pip install 'updater[endpoint]'`."
        ) from None
    return Chat(choice, key_of(choice, os.environ if environ is None else environ))
