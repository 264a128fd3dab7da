"""Feast's SQLite online store with a guard against older values, write-ahead logging and no dependence on the timezone.

The stock store lets an older value overwrite a newer one, blocks readers while it writes, and converts timestamps with
the timezone of the process.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig

from updater.database import can_write_beside, open_to_read
from updater.domain.values import EmbeddingFormat
from updater.store.feast_internals import OpensSqlite
from updater.store.online.lifecycle import OwnViews
from updater.store.online.proto_encoding import file_holds, without_join_keys
from updater.store.online.reading import BatchedReads, ViewCells, view_cells
from updater.store.online.write_ordering import OnlineRow, online_row_batches, sort_key

BUSY_TIMEOUT_SECONDS = 30


class GuardedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):  # type: ignore[misc]
    """Config of `GuardedSqliteOnlineStore`; the key `path` names the database file."""

    type: Literal["updater.store.online_sqlite.GuardedSqliteOnlineStore"] = (
        "updater.store.online_sqlite.GuardedSqliteOnlineStore"
    )
    enable_openai_compatible_store: Literal[False] = False
    embeddings: EmbeddingFormat = "float32"
    """How the embeddings of this project's views are written; each says how it is to be read."""


class GuardedSqliteOnlineStore(OpensSqlite, OwnViews, BatchedReads, SqliteOnlineStore):  # type: ignore[misc]
    """Keeps the newest value of every row. Tables are Feast's, with one more column, `rank`, for the comparison."""

    def connection(self, config: Any) -> sqlite3.Connection:
        """The store's connection; one to read only, made for each use, where the file may not be written."""
        database = self.database(config)
        if not self.is_open and not can_write_beside(str(database)):
            return open_to_read(str(database))
        return super().connection(config)

    def connect(self, config: Any) -> sqlite3.Connection:
        """A new connection, to a file that is made if there is none."""
        path = self.database(config)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without detect_types: Feast registers a converter of timestamps that uses the timezone of the process.
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        return connection

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Create and drop tables, as Feast does, and add the column `rank`."""
        super().update(config, tables_to_delete, tables_to_keep, entities_to_delete, entities_to_keep, partial)
        connection = self.connection(config)
        for view in tables_to_keep:
            table = _table(config, view)
            columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
            if columns and "rank" not in columns:  # without any, the view was one to delete as well
                connection.execute(f'ALTER TABLE "{table}" ADD COLUMN rank BLOB')

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Remove the file, as Feast does, and its log, which the next file would take for its own."""
        super().teardown(config, tables, entities)
        for suffix in ("-wal", "-shm"):
            Path(f"{self.database(config)}{suffix}").unlink(missing_ok=True)

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
        name = _table(config, table)
        statement = f"""
            INSERT INTO "{name}" AS stored (entity_key, feature_name, value, event_ts, created_ts, rank)
            VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (entity_key, feature_name) DO UPDATE SET
                value = excluded.value, rank = excluded.rank,
                event_ts = excluded.event_ts, created_ts = excluded.created_ts
            WHERE CASE WHEN stored.rank IS NULL THEN excluded.event_ts >= stored.event_ts
                       ELSE excluded.rank >= stored.rank END
        """
        cells = (
            (key, feature, value, event_s, created_s, row_sort_key)
            for key, event_s, created_s, row_sort_key, values in map(_cells_of, rows)
            for feature, value in zip(features, values, strict=True)
        )
        with self.connection(config) as connection:
            connection.executemany(statement, cells)

    def delete_entities(self, config: Any, entity_keys: Sequence[bytes]) -> int:
        """Delete entities from all tables; the file and its write-ahead log then hold nothing of them."""
        connection = self.connection(config)
        connection.execute("PRAGMA secure_delete = ON")
        num_rows = 0
        with connection:
            for table in _entity_tables(connection):
                for key in entity_keys:
                    num_rows += connection.execute(f'DELETE FROM "{table}" WHERE entity_key = ?', (key,)).rowcount
        self._empty_log(connection)
        # Rows that were replaced or moved before this connection may have left copies on free pages.
        if self._raw_places(config, entity_keys):
            connection.execute("VACUUM")
            self._empty_log(connection)
        return num_rows

    def find_entities(self, config: Any, entity_keys: Sequence[bytes]) -> list[str]:
        """Tables and files that hold anything of the entities."""
        connection = self.connection(config)
        tables = [
            table
            for table in _entity_tables(connection)
            for key in entity_keys
            if connection.execute(f'SELECT 1 FROM "{table}" WHERE entity_key = ? LIMIT 1', (key,)).fetchone()
        ]
        return [*(f"table {table}" for table in dict.fromkeys(tables)), *self._raw_places(config, entity_keys)]

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise sqlite3.OperationalError("a reader keeps the write-ahead log of the online store; run again")

    def _raw_places(self, config: Any, entity_keys: Sequence[bytes]) -> list[str]:
        """Files of the database whose bytes hold an entity, on pages in use or free."""
        database = self.database(config)
        files = [path for path in (database, Path(f"{database}-wal")) if path.exists()]
        patterns = [without_join_keys(key) for key in entity_keys]
        return [f"bytes of {path}" for path in files if file_holds(path, patterns)]

    def read_cells(
        self, config: Any, entity_keys: Sequence[bytes], wanted: Sequence[tuple[Any, Sequence[str]]]
    ) -> list[ViewCells]:
        """A query per view, because here it costs no round trip."""
        rows = (
            (number, key, feature, value, _instant(event_s))
            for number, (view, features) in enumerate(wanted)
            for key, feature, value, event_s in self._rows(config, entity_keys, view, features)
            if feature in features  # of all that an entity has, a former schema may have left others
        )
        return view_cells(rows, entity_keys, wanted)

    def _rows(
        self, config: Any, entity_keys: Sequence[bytes], view: Any, features: Sequence[str]
    ) -> Iterator[tuple[bytes, str, bytes, int]]:
        """Rows of (entity key, feature, value, event timestamp in seconds), of other features too if all are wanted."""
        # Looking for each feature takes longer than reading all that an entity has.
        names = () if len(features) == len(view.features) else features
        condition = f"AND feature_name IN ({_marks(names)})" if names else ""
        connection = self.connection(config)
        per_query = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) - len(names)
        for start in range(0, len(entity_keys), per_query):
            keys = entity_keys[start : start + per_query]
            query = f"""
                SELECT entity_key, feature_name, value, event_ts FROM "{_table(config, view)}"
                WHERE entity_key IN ({_marks(keys)}) {condition}
            """
            yield from connection.execute(query, (*keys, *names))


@lru_cache(maxsize=1024)
def _instant(event_s: int) -> datetime:
    # The rows of a window share it.
    return datetime.fromtimestamp(event_s, UTC)


def _entity_tables(connection: sqlite3.Connection) -> list[str]:
    """Tables of feature views, whether or not they are still registered."""
    query = """
        SELECT DISTINCT tables.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns
        WHERE tables.type = 'table' AND columns.name = 'entity_key' ORDER BY tables.name
    """
    return [name for (name,) in connection.execute(query)]


def _table(config: Any, view: Any) -> str:
    return str(compute_table_id(config.project, view, config.registry.enable_online_feature_view_versioning))


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _cells_of(row: OnlineRow) -> tuple[bytes, int, int | None, bytes, Sequence[bytes]]:
    # Feast's own readers expect whole seconds in event_ts; the sort key holds the microseconds.
    created_s = None if row.created_us is None else row.created_us // 1_000_000
    return row.entity_key, row.event_us // 1_000_000, created_s, sort_key(row.event_us, row.created_us), row.values
