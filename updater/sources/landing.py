"""Days of made-up and public data, put into the lake the way its contract asks."""

from collections.abc import Callable, Iterable, Mapping
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


def land_days(
    lake: str,
    modalities: Iterable[str],
    days: Iterable[date],
    rows_of_day: Callable[[date], Mapping[str, pa.Table]],
    progress: Progress | None = None,
) -> dict[str, int]:
    """Land the rows of each day, by modality, and return how many rows each of `modalities` got."""
    all_days, counts = list(days), dict.fromkeys(modalities, 0)
    for done, ds in enumerate(all_days, start=1):
        for modality, rows in rows_of_day(ds).items():
            land_day(lake, modality, ds, rows)
            counts[modality] += rows.num_rows
        if progress is not None:
            progress(done, len(all_days))
    return counts
