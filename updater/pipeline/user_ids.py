"""Stored ids of users who are named by their source ids."""

from collections.abc import Sequence

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
            f"{context.settings.source} does not set privacy.pseudonymize, so stored ids are the source ids."
        )
    return known_id(context.settings, user_id)


def state_ids(context: Context, user_ids: Sequence[str]) -> list[str]:
    """Stored ids (pseudonyms if enabled), sorted, each once. Raises ConfigError if one cannot be an id."""
    if not user_ids:
        raise ConfigError("No user is named; give --user-id or --users-file.")
    for user in user_ids:
        try:
            user.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"The user id {user!a} is not UTF-8; no row of the state can have it.") from None
        if not user:
            raise ConfigError("A user id is empty; no row of the state can have it.")
    return sorted({known_id(context.settings, user) for user in user_ids})
