"""D_future: what a user did after the profile, counted by time and kind; the most informative of it is the answer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p

from updater.training.useru.facts.events import Event, Future

QUESTION = "What are the user's most likely actions in the next {days} days?"
BIN_DAYS = 7
MOST_CELLS = 8
"""Cells of an answer; some 150 tokens, within the 200 that the published demo gives an answer."""

Kind = tuple[str, str]
"""Modality and category; the category is empty where a modality has none."""


@dataclass(frozen=True, order=True)
class Cell:
    """A claim about the future: so many events of a kind within a bin of days."""

    bin: int
    kind: Kind
    count: int

    def holds(self, future: Future) -> bool:
        """True if the future's log has just as many."""
        return count_cells(future).get((self.bin, self.kind), 0) == self.count


def num_days(future: Future) -> int:
    """Local days of the window."""
    return (future.end.date() - future.start.date()).days


def count_cells(future: Future) -> Mapping[tuple[int, Kind], int]:
    """Events per bin of BIN_DAYS local days and per kind."""
    first = future.start.date()

    def cell(event: Event) -> tuple[int, Kind]:
        return (event.day - first).days // BIN_DAYS, (event.modality, event.category)

    return Counter(cell(event) for event in future.events)


def select_cells(future: Future, limit: int = MOST_CELLS) -> tuple[Cell, ...]:
    """The most informative cells, in order of time.

    The paper selects by frequency and diversity and prints no formula. Greedy here: log(1 + count), over the square of
    1 + cells already chosen of the same kind, over 1 + those of the same bin, so that many small kinds come before all
    the weeks of one large kind. Equal scores go to the earlier bin, then by name.
    """
    left = dict(sorted(count_cells(future).items()))
    bins: Counter[int] = Counter()
    kinds: Counter[Kind] = Counter()

    def score(cell: tuple[int, Kind]) -> float:
        return log1p(left[cell]) / (1 + kinds[cell[1]]) ** 2 / (1 + bins[cell[0]])

    chosen: list[Cell] = []
    while left and len(chosen) < limit:
        best = max(left, key=score)
        chosen.append(Cell(*best, left.pop(best)))
        bins[best[0]] += 1
        kinds[best[1]] += 1
    return tuple(sorted(chosen))


def question(future: Future) -> str:
    """The fixed question about the future (the paper's wording, with the window's length)."""
    return QUESTION.format(days=num_days(future))


def answer(future: Future, cells: tuple[Cell, ...]) -> str:
    """`cells` in words, one sentence for each bin; no activity is an answer too."""
    length = num_days(future)
    if not future.events:
        return f"The user shows no activity in the next {length} days."
    by_bin: dict[int, list[str]] = {}
    for cell in cells:
        modality, category = cell.kind[0].replace("_", " "), cell.kind[1]
        events = " ".join(filter(None, (category, modality, "event" if cell.count == 1 else "events")))
        by_bin.setdefault(cell.bin, []).append(f"{cell.count} {events}")
    return " ".join(
        f"Days {number * BIN_DAYS + 1} to {min((number + 1) * BIN_DAYS, length)}: {', '.join(parts)}."
        for number, parts in sorted(by_bin.items())
    )
