"""DuckDB reads `s3://` files by its own extension, out of a wheel: through fsspec it takes many times as long."""

from importlib.resources import files

import duckdb

from updater.errors import ConfigError
from updater.objects.s3_access import access_from

RETRIES = 10
"""Of a request that a server refuses for a moment, each after a longer pause."""


def read_buckets(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection read `s3://` files, as the environment reaches them. Nothing is downloaded.

    Raises:
        ConfigError: there are no credentials in the environment, or no extension for this DuckDB.
    """
    access = access_from()
    extension = files("duckdb_extension_httpfs") / f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension"
    if not extension.is_file():
        raise ConfigError(
            f"duckdb-extension-httpfs has no extension for DuckDB {duckdb.__version__}; install updater[s3] again."
        )
    connection.load_extension(str(extension))
    connection.execute(f"set http_retries = {RETRIES}")
    options = {
        "key_id": access.key_id,
        "secret": access.secret,
        "session_token": access.token,
        "region": access.region,
        "endpoint": access.host,
        "url_style": "path",
        "use_ssl": "true" if access.is_encrypted else "false",
    }
    named = ", ".join(f"{name} {quoted(value)}" for name, value in options.items() if value)
    connection.execute(f"create or replace temporary secret updater_s3 (type s3, {named})")


def quoted(text: str) -> str:
    """`text` as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"
