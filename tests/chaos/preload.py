"""Imported by the server that processes are forked from: what they need and modules put off until it is used."""

import importlib

for _module in (
    "feast.infra.compute_engines.local.compute",
    "feast.infra.offline_stores.duckdb",
    "feast.infra.passthrough_provider",
    "feast.infra.registry.sql",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "updater.pipeline.daily.refresh",
    "updater.pipeline.restate.bucket",
    "updater.store.definitions",
    "updater.store.engine",
    "updater.store.online.erasing",
    "updater.store.online_redis",
    "updater.store.online_sqlite",
):
    importlib.import_module(_module)
