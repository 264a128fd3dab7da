"""Crash points, where a run can be killed on purpose: before and after every durable write.

`UPDATER_CRASH_POINT=after:head` kills the first process that gets there, as the kernel would; `after:head:3` the
process that gets there for the third time. That a run survives it at every point is a property of this code, so the
points are a part of it.
"""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "UPDATER_CRASH_POINT"
WRITES = (
    "window",
    "rejected",
    "events",
    "partition",
    "changes",
    "encoded",
    "texts",
    "staged",
    "head",
    "placed",
    "unstaged",
    "materialized",
    "tidied",
    "committed",
)
"""Writes of a window, in the order in which a window with all of them first reaches them."""
POINTS = tuple(f"{when}:{write}" for write in WRITES for when in ("before", "after"))
PROMOTION_WRITES = ("model_staged", "model", "model_placed", "views", "backfilled", "materialized", "promoted")
"""Writes of the promotion of a new model."""
ERASURE_WRITES = (
    "erasure",
    "placed",
    "unstaged",
    "leftover",
    "events_without",
    "plan_without",
    "partition_without",
    "events_removed",
    "record_without",
    "file_without",
    "active_without",
    "other_without",
    "versions_removed",
    "online_without",
    "erased",
)
"""Writes of an erasure, in their order."""
MAINTENANCE_WRITES = (
    "reach",
    "merged_events",
    "swapped",
    "dropped",
    "merged_bucket",
    "merged_texts",
    "pruned",
    "removed",
    "noted",
)
"""Writes of a maintenance, in their order."""
RESTATEMENT_WRITES = ("restatement", "plan", "partition", "restated")
"""Writes of a restatement beside those of the windows that it makes again, in their order."""
EMBEDDING_WRITES = ("part", "joined", "parts_removed")
"""Writes of a file of everybody's embeddings, in their order."""
PROFILE_WRITES = ("profile_replies", "profile_rows", "materialized")
"""Writes of an update of a language model's profiles, in their order."""

_reached: Counter[str] = Counter()


@contextmanager
def crash_point(write: str) -> Iterator[None]:
    """Around a durable write: the crash points before and after it. An error inside passes through."""
    reach(f"before:{write}")
    yield
    reach(f"after:{write}")


def reach(point: str) -> None:
    """Kill this process if the environment says that it shall not live beyond `point`."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    _reached[point] += 1
    if wanted in (f"{point}:{_reached[point]}", point):
        os.kill(os.getpid(), signal.SIGKILL)
