"""A throw-away feature store: what is published in it is joined by Feast as of an instant, and then it is gone.

Evaluation goes through it so that no row can hold what was not yet known at its instant. It has the offline
store of the project, a registry of its own, and lies below `<state>/evaluation` or, if the state is
remote, in a temporary directory.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Bool, FeastType, Float32, Float64, Int64, String

from updater.domain import columns
from updater.settings import Settings
from updater.state.layout import StateLayout
from updater.store.repository.config import feature_store_config

PROJECT = "evaluation"
"""Below the state: what evaluations keep."""
_ROW = "__row"
_TYPES: dict[pa.DataType, FeastType] = {
    pa.string(): String,
    pa.bool_(): Bool,
    pa.int64(): Int64,
    pa.float64(): Float64,
}


class Scratch:
    """A feature store for the length of a `with` block."""

    def __init__(self, settings: Settings) -> None:
        parent = None
        if "://" not in settings.paths.state:
            parent = Path(StateLayout(settings.paths.state).evaluation())
            parent.mkdir(parents=True, exist_ok=True)
        project = feature_store_config(settings, os.environ)
        self.directory = Path(tempfile.mkdtemp(prefix="scratch-", dir=parent))
        config = {
            **{key: project[key] for key in ("provider", "offline_store", "entity_key_serialization_version")},
            "project": PROJECT,
            "registry": {"registry_type": "sql", "path": f"sqlite:///{self.directory}/registry.db"},
            "online_store": {"type": "sqlite", "path": f"{self.directory}/online.db"},
        }
        try:
            self._store = FeatureStore(repo_path=str(self.directory), config=RepoConfig(**config))
        except BaseException:  # no `with` block will remove it
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def publish(
        self,
        view: str,
        tables: pa.Table | Iterable[pa.Table],
        keys: Sequence[str] = (columns.JOIN_KEY,),
        lifetime: timedelta = timedelta(0),
    ) -> None:
        """Make rows a feature view.

        Args:
            view: its name.
            tables: rows of one schema: `keys` (text), `event_timestamp` (when they became known), and features.
            keys: the columns that say what a row is about.
            lifetime: how long a row counts after its timestamp; zero: permanently.
        """
        parts = iter([tables] if isinstance(tables, pa.Table) else tables)
        first = next(parts)
        path = f"{self.directory}/{view}.parquet"
        # Vectors of floats gain nothing by a dictionary or by zstd (docs/adr/0016-vectors-in-parquet.md).
        plain = [field.name for field in first.schema if not pa.types.is_list(field.type)]
        with pq.ParquetWriter(path, first.schema, compression="lz4", use_dictionary=plain) as writer:
            writer.write_table(first)
            for part in parts:
                writer.write_table(part.cast(first.schema))
        features = [field for field in first.schema if field.name not in (*keys, columns.EVENT_TIMESTAMP)]
        entities = [Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in keys]
        source = FileSource(
            name=f"{view}_rows", path=path, file_format=ParquetFormat(), timestamp_field=columns.EVENT_TIMESTAMP
        )
        defined = FeatureView(
            name=view,
            entities=entities,
            ttl=lifetime,
            # With the types given, Feast does not open the file to infer them.
            schema=[
                *(Field(name=key, dtype=String) for key in keys),
                *(Field(name=field.name, dtype=_feast_type(field.type)) for field in features),
            ],
            source=source,
            online=False,
        )
        self._store.apply([*entities, source, defined])

    def point_in_time(self, rows: pa.Table, features: Sequence[str]) -> pa.Table:
        """`rows` with the newest value of each feature that was known at their `event_timestamp`; null if none was.

        Args:
            rows: the views' keys and `event_timestamp`.
            features: `<view>:<feature>`.

        Returns:
            The rows in their order, with a column for each feature.
        """
        numbered = rows.append_column(_ROW, pa.array(range(rows.num_rows), pa.int64())).to_pandas()
        joined = self._store.get_historical_features(numbered, list(features)).to_arrow()
        return joined.sort_by(_ROW).drop_columns([_ROW])


def _feast_type(kind: pa.DataType) -> FeastType:
    # Two lists of floats can differ in the name of their items.
    return Array(Float32) if pa.types.is_list(kind) else _TYPES[kind]
