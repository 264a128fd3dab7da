"""How long a piece of work takes, for the log lines about it."""

import time


class Stopwatch:
    """Runs from when it is made. It measures durations, not the time of day."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since then."""
        return time.perf_counter() - self._start
