"""Rows of a file as flat arrays: nothing is padded before the encoder."""

# B rows, P positions of all of them, N ids of a feature at all positions

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from updater.errors import DataRefusedError
from updater.fidelity.uqabench.files import FEATURES, ITEM

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sequences:
    """The newest positions of some rows, oldest first, one row after the other."""

    lengths_B: Ids
    ids_N: Mapping[str, Ids]
    """By feature: the ids of all positions, one position after the other."""
    counts_P: Mapping[str, Ids]
    """By feature: how many ids each position has."""

    @property
    def row_P(self) -> Ids:
        """The row of each position."""
        return np.repeat(np.arange(len(self.lengths_B)), self.lengths_B)

    @property
    def place_P(self) -> Ids:
        """Where in its row a position stands, from 0."""
        return np.arange(self.lengths_B.sum()) - np.repeat(self.lengths_B.cumsum() - self.lengths_B, self.lengths_B)

    @property
    def items_P(self) -> Ids:
        """The first item of each position; -1 where it has none."""
        counts_P = self.counts_P[ITEM]
        items_P = np.full(len(counts_P), -1, dtype=np.int64)
        items_P[counts_P > 0] = self.ids_N[ITEM][(counts_P.cumsum() - counts_P)[counts_P > 0]]
        return items_P

    def newest(self, feature: str, number: int) -> list[list[list[int]]]:
        """For each row a feature's ids at its newest positions, oldest first."""
        positions = np.split(self.ids_N[feature], self.counts_P[feature].cumsum()[:-1])
        rows = zip(self.lengths_B.cumsum(), np.minimum(self.lengths_B, number), strict=True)
        return [[ids.tolist() for ids in positions[end - kept : end]] for end, kept in rows]

    def users(self) -> list[str]:
        """A digest of each row's items: the files name no users, and a user's rows have the same items."""
        parts = np.split(self.items_P, self.lengths_B.cumsum()[:-1])
        return [sha256(part.tobytes()).hexdigest()[:16] for part in parts]


def read_sequences(rows: pa.RecordBatch, max_events: int) -> Sequences:
    """The newest `max_events` positions of each row.

    Raises:
        DataRefusedError: the features of a row have different numbers of positions, or an id is null.
    """
    lengths: Ids | None = None
    ids_N, counts_P = {}, {}
    for column in FEATURES:
        outer = rows[column]
        found = _lengths(outer)
        if lengths is None:
            lengths = found
        elif (found != lengths).any():
            row = int(np.flatnonzero(found != lengths)[0])
            raise DataRefusedError(
                f"a row has {lengths[row]} positions in {ITEM} and {found[row]} in {column}; download the file again."
            )
        inner = outer.flatten()
        counts = _lengths(inner)
        from_end = np.repeat(found.cumsum(), found) - np.arange(found.sum())
        kept = from_end <= max_events
        ids = inner.flatten()
        if ids.null_count:
            raise DataRefusedError(f"{column} has an id that is null; download the file again.")
        ids_N[column] = ids.to_numpy(zero_copy_only=False).astype(np.int64)[np.repeat(kept, counts)]
        counts_P[column] = counts[kept]
    assert lengths is not None
    return Sequences(np.minimum(lengths, max_events), ids_N, counts_P)


def _lengths(lists: pa.Array) -> Ids:
    lengths: Ids = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths
