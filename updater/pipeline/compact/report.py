"""What maintenance did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from operator import add


@dataclass(frozen=True)
class Part:
    """Files of one part of the state."""

    merged: int = 0
    """Files that were merged into others."""
    made: int = 0
    """Files that they were merged into."""
    dropped: int = 0
    """Files that no window, or by its age nobody, can need."""
    waiting: int = 0
    """Files that are not read any more and wait for the end of their grace period."""
    removed: int = 0
    """Files that were removed."""
    bytes_removed: int = 0

    def __add__(self, other: "Part") -> "Part":
        return Part(*map(add, _values(self), _values(other)))


@dataclass(frozen=True)
class MaintenanceReport:
    """What maintenance did, or with `dry_run` would do."""

    ds: str
    """The watermark."""
    earliest_recomputable: str | None
    """First day whose window can be computed again; None: every day."""
    dry_run: bool
    parts: Mapping[str, Part]


def sum_parts(names: Iterable[str], counted: Iterable[tuple[str, Part]]) -> dict[str, Part]:
    """What was counted, added up for each of the parts `names`."""
    total = dict.fromkeys(names, Part())
    for name, part in counted:
        total[name] += part
    return total


def _values(part: Part) -> list[int]:
    return [getattr(part, field.name) for field in fields(part)]
