"""Taking users out of the online store, and looking whether they are in it."""

from collections.abc import Sequence
from typing import Any

from updater.domain import columns
from updater.errors import ConfigError
from updater.settings import Settings
from updater.store.online.proto_encoding import entity_keys
from updater.store.online.write_ordering import GuardedOnlineStore
from updater.store.repository.connecting import explained, open_store


def erase_online(settings: Settings, user_ids: Sequence[str]) -> int:
    """Delete users from all feature views of all versions. Returns the rows deleted, as the online store counts them.

    Raises:
        ServiceUnavailableError: the registry or the online store does not answer, or is kept busy by a reader.
    """
    store, online = _online(settings)
    with explained(store.config):
        return online.delete_entities(store.config, entity_keys(columns.JOIN_KEY, user_ids))


def find_online(settings: Settings, user_ids: Sequence[str]) -> list[str]:
    """Where the online store holds anything of users.

    Raises:
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    store, online = _online(settings)
    with explained(store.config):
        places = online.find_entities(store.config, entity_keys(columns.JOIN_KEY, user_ids))
    return [f"online store ({settings.online_store.type}): {place}" for place in places]


def _online(settings: Settings) -> tuple[Any, GuardedOnlineStore]:
    store = open_store(settings)
    online = store.provider.online_store
    if not isinstance(online, GuardedOnlineStore):
        raise ConfigError(f"online store {settings.online_store.type!r} cannot delete users.")
    return store, online
