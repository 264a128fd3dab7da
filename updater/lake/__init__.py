"""The event lake and the state files, read and written with Arrow and DuckDB."""
