"""One day of one modality, put into the lake the way its contract asks."""

from collections.abc import Callable
from datetime import date

import pyarrow as pa

from updater.lake.partitions import join, mark_success, write_partition

Progress = Callable[[int, int], None]
"""Called after each landed day with (days done, days in all)."""


def land_day(lake: str, modality: str, ds: date, rows: pa.Table) -> None:
    """Write the rows, if there are any, and then `_SUCCESS`: an empty day has landed too."""
    root = join(lake, modality)
    if rows.num_rows:
        write_partition(root, ds, rows)
    mark_success(root, ds)
