"""All that this project uses of Feast and that Feast does not offer as public: other names, same meaning.

Feast has no public hooks for a store that reads all views of a request at once, or that opens its connection itself,
and none for a server beside its own that checks tokens and rights as they do.
`tests/unit/test_internals.py` fails when one of these functions changes, and names the versions that are permitted.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any

from feast import feature_store, metrics, utils
from feast.infra.online_stores import helpers
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry import proto_registry_utils
from feast.permissions import security_manager


def unique_entities(
    view: Any, join_key_values: Mapping[str, Sequence[Any]], join_keys: Mapping[str, str]
) -> tuple[Sequence[Mapping[str, Any]], Sequence[Sequence[int]], int]:
    """The entities of a request, the rows of the response that each stands in, and how many rows there are."""
    found: tuple[Sequence[Mapping[str, Any]], Sequence[Sequence[int]], int] = utils._get_unique_entities(
        view, join_key_values, join_keys
    )
    return found


def entity_key_messages(entities: Iterable[Mapping[str, Any]]) -> list[Any]:
    """The protobuf message of each entity's key."""
    messages: list[Any] = utils._get_entity_key_protos(entities)
    return messages


def redis_field(view: str, feature: str) -> bytes:
    """The field of a Redis hash that holds a feature."""
    return bytes(helpers._mmh3(f"{view}:{feature}"))


def postgres_connection(online: Any) -> Any:
    """A new connection of the online store that `online` configures."""
    from feast.infra.utils.postgres.connection_utils import _get_conn

    return _get_conn(online)


def postgres_pool(online: Any) -> Any:
    """A new pool of such connections, not yet open."""
    from feast.infra.utils.postgres.connection_utils import _get_connection_pool

    return _get_connection_pool(online)


def print_with(function: Callable[..., None]) -> None:
    """Let `FeatureStore` print its progress through `function`."""
    feature_store.print = function


def remember_services() -> None:
    """Let a registry make a feature service once for each state of its cache, as it makes feature views.

    `feast serve` looks its service up for each request, and Feast would make it of its message each time: with the
    checks of types that its own commands have, five of the seven milliseconds that a request takes.
    """
    plain = proto_registry_utils.get_feature_service
    state: tuple[Any, str] = None, ""
    made: dict[tuple[str, str], Any] = {}

    @wraps(plain)
    def remembered(registry_proto: Any, name: str, project: str) -> Any:
        nonlocal state, made
        # The message is held, and not its address, which another one may have later.
        if state[0] is not registry_proto or state[1] != registry_proto.version_id:
            state, made = (registry_proto, registry_proto.version_id), {}
        services = made
        if (name, project) not in services:
            services[name, project] = plain(registry_proto, name, project)
        return services[name, project]

    proto_registry_utils.get_feature_service = remembered


def guard_requests(store: Any) -> Callable[..., Any]:
    """What Feast's servers do before they listen, so that requests to this process are checked as the config of `store`
    says.

    Returns a dependency of FastAPI: it answers with 401 where a request has no valid token, else `check_permission`
    knows whose it is.
    """
    from feast.permissions.server import rest, utils

    config = store.config.auth_config
    kind = utils.str_to_auth_manager_type(config.type)
    utils.init_security_manager(auth_type=kind, fs=store)
    utils.init_auth_manager(server_type=utils.ServerType.REST, auth_type=kind, auth_config=config)
    dependency: Callable[..., Any] = rest.inject_user_details
    return dependency


def check_permission(resource: Any, action: Any) -> None:
    """Make sure that whoever sent the request may do that. Raises FeastPermissionError."""
    security_manager.assert_permissions(resource=resource, actions=[action])


class ReadsViews(OnlineStore):  # type: ignore[misc]
    """Hook of `get_online_features` for all views of a request at once."""

    def read_views(
        self,
        config: Any,
        wanted: Sequence[tuple[Any, list[str]]],
        join_key_values: Mapping[str, Sequence[Any]],
        join_keys: Mapping[str, str],
        response: Any,
        full_feature_names: bool,
    ) -> None:
        """Fill `response` with the features of the views that are `wanted`."""
        raise NotImplementedError

    def finish(self, response: Any) -> None:
        """Do what is left to be done where Feast has filled a response in its own way."""
        raise NotImplementedError

    def _read_features_per_fv(
        self,
        config: Any,
        grouped_refs: Sequence[tuple[Any, list[str]]],
        join_key_values: Mapping[str, Sequence[Any]],
        entity_name_to_join_key_map: Mapping[str, str],
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        shared = config, grouped_refs, join_key_values, entity_name_to_join_key_map, online_features_response
        # Feast's own way also counts statuses and adds versions.
        if include_feature_view_version_metadata or metrics._config.online_features:
            super()._read_features_per_fv(*shared, full_feature_names, include_feature_view_version_metadata)
            self.finish(online_features_response)
        else:
            self.read_views(*shared, full_feature_names)

    async def _read_features_per_fv_async(
        self,
        config: Any,
        grouped_refs: Sequence[tuple[Any, list[str]]],
        join_key_values: Mapping[str, Sequence[Any]],
        entity_name_to_join_key_map: Mapping[str, str],
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        shared = config, grouped_refs, join_key_values, entity_name_to_join_key_map, online_features_response
        await super()._read_features_per_fv_async(*shared, full_feature_names, include_feature_view_version_metadata)
        self.finish(online_features_response)


class OpensSqlite(OnlineStore):  # type: ignore[misc]
    """Hook of the SQLite store for a connection of our own."""

    _conn: sqlite3.Connection | None = None
    """Feast closes it, and forgets it, when the store is torn down."""

    def connect(self, config: Any) -> sqlite3.Connection:
        """A new connection."""
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        """Whether the store has its connection."""
        return self._conn is not None

    def connection(self, config: Any) -> sqlite3.Connection:
        """The store's connection."""
        if self._conn is None:
            self._conn = self.connect(config)
        return self._conn

    def database(self, config: Any) -> Path:
        """The file that holds the rows."""
        return Path(self._get_db_path(config))

    def _get_conn(self, config: Any) -> sqlite3.Connection:
        return self.connection(config)


class OpensPostgres(OnlineStore):  # type: ignore[misc]
    """Hook of the PostgreSQL store for a connection of our own."""

    def connection(self, config: Any, autocommit: bool = False) -> AbstractContextManager[Any]:
        """The store's connection, for the length of a `with` block."""
        raise NotImplementedError

    def _get_conn(self, config: Any, autocommit: bool = False) -> AbstractContextManager[Any]:
        return self.connection(config, autocommit)


class ReadsRedis(OnlineStore):  # type: ignore[misc]
    """The Redis store's client and reads, and its hook for what a hash holds."""

    def client(self, config: Any) -> Any:
        """The store's client."""
        return self._get_client(config.online_store)

    def hashes(
        self, config: Any, commands: Sequence[tuple[bytes, Sequence[str | bytes]]]
    ) -> list[Sequence[bytes | None]]:
        """The values of some fields of some keys."""
        found: list[Sequence[bytes | None]] = self._read_hash_fields(config, commands)
        return found

    def features_of(
        self, values: Sequence[bytes | None], view: str, names: list[str]
    ) -> tuple[datetime | None, dict[str, Any] | None]:
        """Event timestamp and features of one entity, out of the values of its hash."""
        raise NotImplementedError

    def _get_features_for_entity(
        self, values: Sequence[bytes | None], feature_view: str, requested_features: list[str]
    ) -> tuple[datetime | None, dict[str, Any] | None]:
        return self.features_of(values, feature_view, requested_features)


class LoadsViews:
    """Hook of the local batch engine for views that are loaded in another way."""

    def load_view(self, task: Any) -> Any | None:
        """The finished job of a view; None leaves it to Feast."""
        raise NotImplementedError

    def _materialize_one(self, registry: Any, task: Any, **kwargs: Any) -> Any:
        job = self.load_view(task)
        return super()._materialize_one(registry, task, **kwargs) if job is None else job  # type: ignore[misc]
