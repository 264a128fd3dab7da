"""A row of the results: a ratio to a reference that was measured in the same run, and the target for it."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

COMPARISONS = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Row:
    """One measurement."""

    name: str
    ratio: float | None
    """None: not measured, and `note` says why."""
    target: str = ""
    """`>= 3`, `<= 1.1`, or empty if nothing is asked of it."""
    met: bool | None = None
    """None without a target, or where the machine lacks what the row is about."""
    spread: tuple[float, float] | None = None
    """Smallest and largest ratio of the repeats."""
    note: str = ""
    """Where the time goes, or what else must be known."""

    def to_json(self) -> dict[str, Any]:
        """The row for machines."""
        return asdict(self)


def measured(
    name: str,
    ratios: Sequence[float],
    target: str = "",
    *,
    note: str = "",
    where: Callable[[], str] | None = None,
) -> Row:
    """The row of a repeated measurement.

    Args:
        name: what was measured.
        ratios: one per repeat; the target is checked against their median, unrounded.
        target: a comparison and a bound.
        note: said in any case.
        where: called if the target is missed; says where the time goes.
    """
    ratio = median(ratios)
    met = None
    if target:
        comparison, bound = target.split()
        met = bool(COMPARISONS[comparison](ratio, float(bound)))
    if met is False and where is not None:
        note = "; ".join(part for part in (note, where()) if part)
    spread = (round(min(ratios), 3), round(max(ratios), 3)) if len(ratios) > 1 else None
    return Row(name, round(ratio, 3), target, met, spread, note)


def failed(name: str, error: str) -> Row:
    """The row of something that could not be measured: a target that is not met."""
    return Row(name, None, "", False, None, f"failed: {error}")
