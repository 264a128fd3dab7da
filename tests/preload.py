"""Imported by the server that processes are forked from: what they need, and what modules put off until it is used.

All tests of a process share one server, and the first of them starts it. So there is one list.
"""

import importlib

for _module in (
    "updater.runtime.garbage",
    "feast.infra.compute_engines.local.compute",
    "feast.infra.offline_stores.duckdb",
    "feast.infra.passthrough_provider",
    "feast.infra.registry.sql",
    "rich.progress",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tests.chaos.perform",
    # Imported when a model is read, and longer than all else that a short run does.
    "transformers.models.bert.modeling_bert",
    "transformers.models.qwen2.modeling_qwen2",
    "updater.model.checkpoint",
    "updater.model.inference",
    "updater.pipeline.daily.refresh",
    "updater.pipeline.daily.window",
    "updater.pipeline.monitor.verify",
    "updater.pipeline.restate.bucket",
    "updater.store.definitions",
    "updater.store.engine",
    "updater.store.online.erasing",
    "updater.store.online_redis",
    "updater.store.online_sqlite",
):
    importlib.import_module(_module)
