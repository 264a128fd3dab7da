"""DuckDB without its progress bar."""

from contextlib import suppress

import duckdb


def without_progress_bar(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The connection, which writes nothing of its own while a query takes long."""
    # In a notebook without ipywidgets there is no bar to begin with, and DuckDB refuses to switch it off.
    with suppress(duckdb.InvalidInputException):
        connection.execute("set enable_progress_bar = false")
    return connection
