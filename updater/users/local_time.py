"""Instants on the clocks of a timezone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

QUARTER = 900
"""Clocks change on the quarter of an hour, in UTC."""


def local_seconds(times_N: npt.NDArray[np.float64], timezone: str) -> npt.NDArray[np.float64]:
    """What the clocks of `timezone` show at instants in seconds since the epoch, in seconds since their 1970 began."""
    quarters, place_N = np.unique(np.floor(times_N / QUARTER).astype(np.int64), return_inverse=True)
    zone = ZoneInfo(timezone)
    offsets = [_offset(quarter * QUARTER, zone) for quarter in quarters.tolist()]
    local: npt.NDArray[np.float64] = times_N + np.array(offsets, dtype=np.float64)[place_N]
    return local


def _offset(instant: int, zone: ZoneInfo) -> float:
    offset = datetime.fromtimestamp(instant, UTC).astimezone(zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()
