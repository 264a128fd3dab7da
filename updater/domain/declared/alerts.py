"""Alert thresholds of the daily job, and which of the measured values exceed them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Annotated

from annotated_types import Interval

from updater.domain.values import Checked, Share

Unlimited = Annotated[float, Interval(ge=0, le=math.inf)]

MIN_PAST_WINDOWS = 3
"""Earlier windows that are needed to know what is usual."""


@dataclass(frozen=True, kw_only=True)
class AlertThresholds(Checked, table="alerts"):
    """A value beyond its threshold is an alert; a threshold of `inf` is never exceeded."""

    max_hours_since_as_of: Unlimited = 36.0
    """Hours since the instant whose knowledge the embeddings reflect. A daily job is at 24 when the next day ends."""
    max_days_since_last_event: Unlimited = 14.0
    """Days between a stream's newest event and the newest window's end: its partitions land, but empty."""
    max_changed_share_factor: Annotated[float, Interval(ge=1, le=math.inf)] = 4.0
    """How many times larger, or smaller, than usual the share of changed users may be."""
    max_rejected_share_window: Share = 0.01
    """Largest share (0 to 1) of a modality's rows that may be rejected in the newest window."""
    min_day_cosine: Annotated[float, Interval(ge=-1, le=1)] = 0.7
    """Least mean cosine (-1 to 1) of the newest window's embeddings with the same users' previous ones."""
    max_mean_shift: Annotated[float, Interval(ge=0, le=2)] = 0.3
    """Largest length (0 to 2) of the difference between the means of those two sets of embeddings."""
    max_mismatch_share: Share = 0.0
    """Largest share (0 to 1) of online values that may differ from the offline ones."""


THRESHOLDS = tuple(field.name for field in fields(AlertThresholds))
"""The name of each threshold."""


@dataclass(frozen=True)
class Measured:
    """A value that has a threshold."""

    threshold: str
    """Name of the field of `AlertThresholds`."""
    value: float
    where: str
    """What was measured, such as `modality bill, 2024-01-02`."""


@dataclass(frozen=True)
class Alert:
    """A threshold, and the value that exceeds it."""

    threshold: str
    limit: float
    value: float
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.threshold} is {self.limit:g}, the value {self.value:.6g}"


def find_alerts(thresholds: AlertThresholds, measured: Iterable[Measured]) -> list[Alert]:
    """The measured values that exceed their thresholds; a NaN exceeds every threshold."""
    found = []
    for item in measured:
        limit = getattr(thresholds, item.threshold)
        if item.threshold == "max_changed_share_factor":
            kept = 1 / limit <= item.value <= limit
        elif item.threshold.startswith("min_"):
            kept = item.value >= limit
        else:
            kept = item.value <= limit
        if not kept:
            found.append(Alert(item.threshold, limit, item.value, item.where))
    return found


def changed_share(changed: int, active: int) -> float:
    """Share (0 to 1) of the users with events or changes that changed in a window.

    Args:
        changed: users who changed, among them those whose last event left the buffer.
        active: users with events after the window.
    """
    return changed / max(changed, active) if changed else 0.0


def usual_share(past: Sequence[float]) -> float | None:
    """The median of earlier windows' shares; None where they are too few, or where usually nobody changes."""
    return (median(past) or None) if len(past) >= MIN_PAST_WINDOWS else None


def buckets_to_probe(users: Mapping[int, int], wanted: int, turn: int) -> list[int]:
    """As few buckets as hold `wanted` users, or all that hold any: a bucket is a fair sample, as it follows a hash.

    Args:
        users: number of users by bucket.
        wanted: number of users to look at.
        turn: where to begin, so that the windows' samples take turns.
    """
    order = sorted(bucket for bucket, number in users.items() if number)
    start = turn % len(order) if order else 0
    chosen: list[int] = []
    for bucket in order[start:] + order[:start]:
        if sum(users[b] for b in chosen) >= wanted:
            break
        chosen.append(bucket)
    return sorted(chosen)
