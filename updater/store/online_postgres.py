"""Feast's PostgreSQL online store with a guard against older values.

The stock store lets an older value overwrite a newer one, sends one statement per cell, and writes timestamps without a
timezone, which the server reads in the timezone of the session.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from feast.infra.utils.postgres.postgres_config import ConnectionType
from psycopg import sql

from updater.database import check_encoding
from updater.domain.values import EmbeddingFormat
from updater.store.feast_internals import OpensPostgres, postgres_connection, postgres_pool
from updater.store.online.lifecycle import OwnViews
from updater.store.online.reading import BatchedReads, ViewCells, view_cells
from updater.store.online.write_ordering import OnlineRow, newest, online_row_batches, to_datetime

_UPSERT = """
    INSERT INTO {table} AS stored (entity_key, feature_name, value, event_ts, created_ts)
    SELECT * FROM unnest(%b::bytea[], %b::text[], %b::bytea[], %b::timestamptz[], %b::timestamptz[])
    ON CONFLICT (entity_key, feature_name) DO UPDATE SET
        value = EXCLUDED.value, event_ts = EXCLUDED.event_ts, created_ts = EXCLUDED.created_ts
    WHERE (EXCLUDED.event_ts, coalesce(EXCLUDED.created_ts, '-infinity'))
       >= (stored.event_ts, coalesce(stored.created_ts, '-infinity'))
"""


class GuardedPostgreSQLOnlineStoreConfig(PostgreSQLOnlineStoreConfig):  # type: ignore[misc]
    """Config of `GuardedPostgreSQLOnlineStore`, with the stock store's keys."""

    type: Literal["updater.store.online_postgres.GuardedPostgreSQLOnlineStore"] = (
        "updater.store.online_postgres.GuardedPostgreSQLOnlineStore"
    )
    enable_openai_compatible_store: Literal[False] = False
    embeddings: EmbeddingFormat = "float32"
    """How the embeddings of this project's views are written; each says how it is to be read."""


class GuardedPostgreSQLOnlineStore(OpensPostgres, OwnViews, BatchedReads, PostgreSQLOnlineStore):  # type: ignore[misc]
    """Keeps the newest value of every row, in Feast's tables."""

    _connection: Any = None
    _pool: Any = None

    @contextmanager
    def connection(self, config: Any, autocommit: bool = False) -> Iterator[Any]:
        """Feast's hook for connections: the stock method accepts no subclass, and keeps one whose statement failed."""
        if config.online_store.conn_type == ConnectionType.pool:
            if self._pool is None:
                self._pool = postgres_pool(config.online_store)
                self._pool.open()
            with self._pool.connection() as connection:
                _speak_utf8(connection, config)
                connection.set_autocommit(autocommit)
                yield connection
            return
        if self._connection is None or self._connection.closed:
            connection = postgres_connection(config.online_store)
            _speak_utf8(connection, config)
            self._connection = connection
        self._connection.set_autocommit(autocommit)
        try:
            yield self._connection
        except BaseException:
            self._connection.rollback()
            raise

    def online_write_batch(
        self, config: Any, table: Any, data: list[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's interface for writing rows."""
        for features, rows in online_row_batches(data, config.entity_key_serialization_version):
            self.write_online_rows(config, table, features, rows)
        if progress:
            progress(len(data))

    def write_online_rows(self, config: Any, table: Any, features: Sequence[str], rows: Sequence[OnlineRow]) -> None:
        """Write serialized rows in one transaction."""
        # One statement may touch a row once only; sorted keys keep concurrent writers from locking each other out.
        kept = newest(rows)
        width = len(features)
        keys = [row.entity_key for row in kept for _ in features]
        values = [value for row in kept for value in row.values]
        events = [instant for row in kept for instant in [to_datetime(row.event_us)] * width]
        created = [
            instant
            for row in kept
            for instant in [None if row.created_us is None else to_datetime(row.created_us)] * width
        ]
        statement = sql.SQL(_UPSERT).format(table=sql.Identifier(_table(config, table)))
        with self.connection(config) as connection:
            connection.execute(statement, (keys, list(features) * len(kept), values, events, created))
            connection.commit()

    def read_cells(
        self, config: Any, entity_keys: Sequence[bytes], wanted: Sequence[tuple[Any, Sequence[str]]]
    ) -> list[ViewCells]:
        """One query reads all views, so they are of the same moment."""
        tables = tuple(_table(config, view) for view, _ in wanted)
        features = {str(number): list(names) for number, (_, names) in enumerate(wanted)}
        # As text, the server would write each byte as two digits.
        with self.connection(config, autocommit=True) as connection, connection.cursor(binary=True) as cursor:
            cursor.execute(_query(tables), {"keys": list(entity_keys), **features})
            return view_cells(cursor, entity_keys, wanted)

    def delete_entities(self, config: Any, entity_keys: Sequence[bytes]) -> int:
        """Delete entities from all tables, and vacuum these, so that no page holds a deleted row."""
        with self.connection(config, autocommit=True) as connection:
            tables = [sql.Identifier(name) for name in _entity_tables(connection, config.project)]
            num_rows = 0
            for table in tables:
                statement = sql.SQL("DELETE FROM {table} WHERE entity_key = ANY(%b::bytea[])").format(table=table)
                num_rows += connection.execute(statement, (list(entity_keys),)).rowcount
            for table in tables:
                connection.execute(sql.SQL("VACUUM {table}").format(table=table))
        return num_rows

    def find_entities(self, config: Any, entity_keys: Sequence[bytes]) -> list[str]:
        """Tables that hold any of the entities."""
        query = "SELECT 1 FROM {table} WHERE entity_key = ANY(%b::bytea[]) LIMIT 1"
        with self.connection(config, autocommit=True) as connection:
            return [
                f"table {name}"
                for name in _entity_tables(connection, config.project)
                if connection.execute(
                    sql.SQL(query).format(table=sql.Identifier(name)), (list(entity_keys),)
                ).fetchone()
            ]


def _speak_utf8(connection: Any, config: Any) -> None:
    """Make sure that names come as text, whatever the database and PGCLIENTENCODING are. Raises ConfigError."""
    online = config.online_store
    check_encoding(connection, f"The online store {online.host}:{online.port}/{online.database}")
    if connection.info.encoding != "utf-8":
        connection.execute("SET client_encoding TO 'UTF8'")
        connection.commit()


@lru_cache(maxsize=256)
def _query(tables: tuple[str, ...]) -> sql.Composed:
    select = """
        SELECT {number}, entity_key, feature_name, value, event_ts FROM {table}
        WHERE entity_key = ANY(%(keys)b::bytea[]) AND feature_name = ANY({features}::text[])
    """
    return sql.SQL(" UNION ALL ").join(
        sql.SQL(select).format(
            number=sql.Literal(number), table=sql.Identifier(table), features=sql.Placeholder(str(number))
        )
        for number, table in enumerate(tables)
    )


def _entity_tables(connection: Any, project: str) -> list[str]:
    """Tables of a project's feature views in the current schema, whether or not they are still registered."""
    query = """
        SELECT table_name FROM information_schema.columns
        WHERE column_name = 'entity_key' AND table_schema = current_schema() AND starts_with(table_name, %s)
        ORDER BY table_name
    """
    return [name for (name,) in connection.execute(query, (f"{project}_",))]


def _table(config: Any, view: Any) -> str:
    return str(compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning))
