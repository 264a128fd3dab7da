"""Where a text's vector lies: an index that is made once, and into which later segments are merged."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from updater.lake.schemas import TEXT_ID_BYTES


class TextIndex:
    """From text ids to rows, which are counted from the first id that was added. 24 bytes per text."""

    def __init__(self) -> None:
        self._heads = np.zeros(0, np.uint64)
        """The first eight bytes of each id, ascending; ids are hashes, so hardly ever are two the same."""
        self._tails = np.zeros(0, np.uint64)
        self._rows = np.zeros(0, np.int64)
        self._waiting: list[npt.NDArray[np.uint64]] = []
        self._num_rows = 0

    def add(self, text_ids: pa.Array) -> None:
        """The next rows; an id that is known keeps its first row as well. Merged when rows are next asked for."""
        self._waiting.append(_halves(text_ids))

    def rows(self, text_ids: pa.Array) -> npt.NDArray[np.int64]:
        """The row of each id; -1 for one that was not added."""
        self._merge()
        wanted = _halves(text_ids)
        found = np.full(len(wanted), -1, np.int64)
        places = np.searchsorted(self._heads, wanted[:, 0])
        left = np.arange(len(wanted))
        while True:
            # Of those whose first half is at this position or continues at the next.
            left = left[places[left] < len(self._heads)]
            left = left[self._heads[places[left]] == wanted[left, 0]]
            if not len(left):
                return found
            same = self._tails[places[left]] == wanted[left, 1]
            found[left[same]] = self._rows[places[left[same]]]
            left = left[~same]
            places[left] += 1

    def _merge(self) -> None:
        if not self._waiting:
            return
        new = np.concatenate(self._waiting)
        self._waiting = []
        order = np.argsort(new[:, 0], kind="stable")
        heads = new[order, 0]
        places = np.searchsorted(self._heads, heads, side="right")
        self._heads = np.insert(self._heads, places, heads)
        self._tails = np.insert(self._tails, places, new[order, 1])
        self._rows = np.insert(self._rows, places, self._num_rows + order)
        self._num_rows += len(new)


def _halves(text_ids: pa.Array) -> npt.NDArray[np.uint64]:
    """Ids as pairs of numbers, shape (ids, 2)."""
    flat = text_ids.cast(pa.binary(TEXT_ID_BYTES))
    data = flat.buffers()[1]
    if data is None or not len(flat):
        return np.zeros((0, 2), np.uint64)
    halves = np.frombuffer(data, np.uint64).reshape(-1, 2)
    return halves[flat.offset : flat.offset + len(flat)]
