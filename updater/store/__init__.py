"""Feast: guarded online stores, the batch engine that fills them, and the reads that training and serving share.

Importing this package imports Feast, which takes seconds; callers import it where they need it.
"""

import warnings

import updater.store.feast_import  # noqa: F401  (before all that imports Feast)

# isort: split
from updater.store.access import historical_rows, materialize, online_rows
from updater.store.definitions import apply
from updater.store.repository.config import feature_store_config, write_feature_store_yaml
from updater.store.repository.connecting import open_store

# Feast has deprecations shown. ibis calls a method of a duckdb result by its former name; both names work.
warnings.filterwarnings(
    "ignore", message=r"fetch_arrow_table\(\) is deprecated", category=DeprecationWarning, module="ibis"
)

__all__ = [
    "apply",
    "feature_store_config",
    "historical_rows",
    "materialize",
    "online_rows",
    "open_store",
    "write_feature_store_yaml",
]
