"""The vectors that point most nearly where one does: exact, and the same list whatever the chunks."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Vectors = tuple[Sequence[str], npt.NDArray[np.float32]]
"""Users, and their vectors of shape (users, E)."""
ROWS = 4096
"""Rows that are multiplied together: in float64 they and their products take a few MiB."""


def nearest(chunks: Iterable[Vectors], vector_E: npt.NDArray[np.float32], top: int) -> list[tuple[str, float]]:
    """The `top` users with the largest cosine to `vector_E`, that first; of equal ones the smaller id first.

    Products of two float32 numbers are exact in float64, and the sum of a row does not depend on the other rows: equal
    vectors have equal cosines, and chunks of any size give the same list.
    """
    wanted_E = vector_E.astype(np.float64)
    best: list[tuple[float, str]] = []
    for users, vectors_NE in chunks:
        for start in range(0, len(users), ROWS):
            cosine_N = _cosines(vectors_NE[start : start + ROWS], wanted_E)
            # Those that are no larger than what is there already need no look at their ids; equal ones do.
            least = max(_nth_largest(cosine_N, top), -best[-1][0] if len(best) == top else -np.inf)
            rows = np.flatnonzero(cosine_N >= least)
            best += [(-float(cosine_N[row]), users[start + int(row)]) for row in rows]
            best = sorted(best)[:top]
    return [(user, -negative) for negative, user in best]


def _cosines(vectors_NE: npt.NDArray[np.float32], wanted_E: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cosines of N vectors to one; 0 where a vector is zero."""
    wide_NE = vectors_NE.astype(np.float64)
    dots_N = (wide_NE * wanted_E).sum(axis=1)
    norms_N = np.sqrt((wide_NE * wide_NE).sum(axis=1) * (wanted_E * wanted_E).sum())
    cosine_N: npt.NDArray[np.float64] = np.divide(dots_N, norms_N, out=np.zeros_like(dots_N), where=norms_N > 0)
    return cosine_N


def _nth_largest(values: npt.NDArray[np.float64], n: int) -> float:
    return -np.inf if len(values) <= n else float(np.partition(values, len(values) - n)[len(values) - n])
