"""Days of a made-up history, in the lake contract."""

from datetime import date
from functools import partial

import pyarrow as pa

from updater.domain.window import days
from updater.errors import ConfigError
from updater.sources.landing import Progress, land_days
from updater.sources.synthetic.content import app_rows, stream_rows, tabular_rows
from updater.sources.synthetic.schedule import arrivals, snapshot_users
from updater.sources.synthetic.spec import MODALITIES, STREAMS, SyntheticSpec


def land(
    lake: str,
    spec: SyntheticSpec,
    from_date: date | None = None,
    to_date: date | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Land the days from `from_date` to `to_date`, both inclusive, and return the rows per modality.

    Without dates the whole history lands. Landing a day again writes the same bytes, whatever landed before it.
    Memory holds a few days at a time.

    Raises:
        ConfigError: the range leaves the history.
    """
    first, last = from_date or spec.first_day, to_date or spec.last_day
    if not spec.first_day <= first <= last <= spec.last_day:
        raise ConfigError(
            f"the synthetic history cannot be landed from {first} to {last}; choose days in order, "
            f"from {spec.first_day} to {spec.last_day}."
        )
    return land_days(lake, MODALITIES, days(first, last), partial(rows_of_day, spec), progress)


def rows_of_day(spec: SyntheticSpec, ds: date) -> dict[str, pa.Table]:
    """What lands on `ds`, by modality: a function of the spec and the day alone."""
    day = (ds - spec.first_day).days
    rows = {
        stream: pa.concat_tables([stream_rows(spec, stream, arrival, e) for arrival, e in arrivals(spec, day, stream)])
        for stream in STREAMS
    }
    rows["app"] = app_rows(spec, day, snapshot_users(spec, day, "app"))
    rows["tabular"] = tabular_rows(spec, day, snapshot_users(spec, day, "tabular"))
    return {modality: rows[modality].combine_chunks() for modality in MODALITIES}
