"""What a system costs for each user, measured where it is computed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

BYTES_PER_NUMBER = 4
"""A number is counted as float32, whatever it is computed in: that is how embeddings are stored."""


@dataclass(frozen=True)
class Cost:
    """What one user costs at one anchor, for all questions together."""

    cpu_ms: float
    """Reading the user's events and computing; every text has been encoded before, once ever."""
    num_bytes: int
    vectors: int = 1
    """Embeddings of a user, one for each question; counts are the same for all questions."""


class CpuClock:
    """CPU seconds of this process, all its threads together, spent within `running` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is spent in the block."""
        begin = time.process_time()
        try:
            yield
        finally:
            self.seconds += time.process_time() - begin


def total_cost(costs: Sequence[Cost | None]) -> Cost | None:
    """The cost of having several systems at once; None if one of them was not measured."""
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return None
    return Cost(sum(c.cpu_ms for c in known), sum(c.num_bytes for c in known), max(c.vectors for c in known))
