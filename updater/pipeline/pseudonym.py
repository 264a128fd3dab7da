"""The pseudonym of one user, for whoever may ask."""

from updater.errors import ConfigError
from updater.lake.pseudonyms import known_id
from updater.runtime.deployment import Context


def pseudonym_of(context: Context, user_id: str) -> str:
    """The pseudonym of the user whom the lake calls `user_id`, under the key that the state was made with.

    Raises:
        ConfigError: the state keeps ids as they are.
    """
    if not context.settings.privacy.pseudonymize:
        raise ConfigError(
            f"{context.settings.source} does not set privacy.pseudonymize, so users keep the ids that the lake has."
        )
    return known_id(context.settings, user_id)
