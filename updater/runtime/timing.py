"""How long a piece of work takes, for the lines that tell of it."""

import time


class Stopwatch:
    """Runs from when it is made. It measures; it does not tell the time."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since then."""
        return time.perf_counter() - self._start
