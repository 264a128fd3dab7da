"""What of a state is lost, there twice, or another than it should be."""

from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.state import Items


@dataclass
class Differences:
    """Names of items, once for each value that is wrong."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    """Values that are there and should not be there, or not so often."""
    differing: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.differing)


def compare(expected: Items, found: Items, without: tuple[str, ...] = ()) -> Differences:
    """Compare a state with an undisturbed one, but for items whose names start as `without` says."""
    differences = Differences()
    for name in sorted(expected.keys() | found.keys()):
        if name.startswith(without):
            continue
        wanted, there = Counter(expected.get(name, ())), Counter(found.get(name, ()))
        missing, extra = (wanted - there).total(), (there - wanted).total()
        changed = min(missing, extra)
        differences.differing += [name] * changed
        differences.lost += [name] * (missing - changed)
        differences.doubled += [name] * (extra - changed)
    return differences
