"""Days of the log of codes, in the lake contract: every row lands on the day on which it happened."""

from datetime import UTC, date, datetime, time
from functools import partial

import numpy as np
import pyarrow as pa

from updater.domain.window import days
from updater.errors import ConfigError
from updater.sources.codes.shoppers import codes, lines_of_day
from updater.sources.codes.spec import MODALITIES, CodesSpec
from updater.sources.landing import Progress, land_days
from updater.sources.synthetic.random_bits import Ints, below, random_bits

_TIME = 320


def land(
    lake: str,
    spec: CodesSpec,
    from_date: date | None = None,
    to_date: date | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Land the days from `from_date` to `to_date`, both inclusive, and return the rows per modality.

    Without dates the whole log lands. Landing a day again writes the same bytes, whatever landed before it.

    Raises:
        ConfigError: the range leaves the log.
    """
    first, last = from_date or spec.first_day, to_date or spec.last_day
    if not spec.first_day <= first <= last <= spec.last_day:
        raise ConfigError(
            f"the log of codes cannot be landed from {first} to {last}; choose days in order, "
            f"from {spec.first_day} to {spec.last_day}."
        )
    return land_days(lake, MODALITIES, days(first, last), partial(rows_of_day, spec), progress)


def rows_of_day(spec: CodesSpec, ds: date) -> dict[str, pa.Table]:
    """What lands on `ds`: `order` with `lines` and `total`, and `line` with the product's `code` and `price`."""
    day = (ds - spec.first_day).days
    lines = lines_of_day(spec, day)
    user, place, num = np.unique(lines.user, return_inverse=True, return_counts=True)
    total = np.bincount(place, weights=lines.cents, minlength=len(user))
    code = pa.array(codes(spec), pa.string()).take(pa.array(lines.product))
    only = pa.array([f"{day}"], pa.string()).take(pa.array(np.zeros(len(user), np.int64)))
    order = {**_keys(spec, day, user, only), "lines": pa.array(num), "total": pa.array(total / 100)}
    line = {**_keys(spec, day, lines.user, _named(day, code)), "code": code, "price": pa.array(lines.cents / 100)}
    return {"order": pa.table(order), "line": pa.table(line)}


def _named(day: int, code: pa.Array) -> pa.Array:
    return pa.array([f"{day}-{text}" for text in code.to_pylist()], pa.string())


def _keys(spec: CodesSpec, day: int, user: Ints, event_id: pa.Array) -> dict[str, pa.Array]:
    midnight = int(datetime.combine(spec.first_day, time(), UTC).timestamp()) + 86_400 * day
    seconds = below(random_bits(_TIME, spec.seed, day, user), 86_400)
    return {
        "user_id": pa.array([f"c{number:07d}" for number in user.tolist()], pa.string()),
        "event_id": event_id,
        "event_time": pa.array((midnight + seconds) * 1_000_000).cast(pa.timestamp("us", "UTC")),
    }
