"""How long a piece of work takes, for the log lines about it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Runs from when it is made. It measures durations, not the time of day."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since then."""
        return time.perf_counter() - self._start


class StepTimes:
    """Seconds that the steps of some work took, by their names; called around a step."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall-clock seconds so far, of each step that has ended."""
        return self._seconds

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a step; several of one name add up."""
        watch = Stopwatch()
        yield
        self.add(name, watch.seconds)

    def add(self, name: str, seconds: float) -> None:
        """Count what a step took elsewhere."""
        self._seconds[name] = round(self._seconds.get(name, 0.0) + seconds, 3)
