"""Feast's DuckDB offline store over a state in an S3 bucket.

Feast's own does not find the files of a directory there, and would download DuckDB's extension. Here the files are
listed and read as the rest of the project does it; all else is Feast's: its point-in-time join, its result.
"""

from typing import Any

import ibis
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.ibis import get_historical_features_ibis

from updater.errors import ConfigError
from updater.lake import partitions
from updater.locations import is_s3
from updater.objects.duckdb_reads import quoted, read_buckets


class BucketOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """The options of Feast's own."""

    type: str = "updater.store.offline_bucket.BucketOfflineStore"


class BucketOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]
    """Historical features out of a bucket, which the environment's credentials reach."""

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: Any,
        feature_refs: Any,
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> Any:
        """See Feast. Raises ConfigError for a view without offline rows, or without credentials."""
        return get_historical_features_ibis(
            config=config,
            feature_views=feature_views,
            feature_refs=feature_refs,
            entity_df=entity_df,
            registry=registry,
            project=project,
            full_feature_names=full_feature_names,
            data_source_reader=_rows,
            data_source_writer=_no_dataset,
            filter_by_created_timestamp=filter_by_created_timestamp,
        )


def _rows(source: Any, repo_path: str) -> Any:
    """All offline rows of a view."""
    if not is_s3(source.path):
        return ibis.read_parquet(source.path)
    files = [path for paths in partitions.list_tree(source.path).values() for path in paths]
    if not files:
        raise ConfigError(f"There are no offline rows in {source.path}; publish a day with `updater run`.")
    backend = ibis.get_backend()
    read_buckets(backend.con)
    named = ", ".join(map(quoted, files))
    # A column that an older file lacks is null there.
    return backend.sql(f"select * from read_parquet([{named}], hive_partitioning = false, union_by_name = true)")


def _no_dataset(*_: Any, **__: Any) -> None:
    raise ConfigError("A saved dataset cannot be written for a state in a bucket; keep the data frame instead.")
