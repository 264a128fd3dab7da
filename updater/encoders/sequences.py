"""Users' events as sequences of numbers, and some of them as padded tensors."""

# U users, N events, B users of a batch, L events of the longest of them, C numeric columns, T texts, X text width

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PADDING, OTHER, FIRST = 0, 1, 2
"""Numbers of items and categories: of none, of all the rare ones together, and of the commonest."""
HOURS = 24


@dataclass(frozen=True, eq=False)
class Batch:
    """Events of some users, oldest first. Behind a user's last one is padding, which no state of an event sees."""

    lengths_B: NDArray[np.int64]
    items_BL: Tensor
    modalities_BL: Tensor
    categories_BL: Tensor
    hours_BL: Tensor
    gaps_BL: Tensor
    seconds_BL: Tensor
    numbers_BLC: Tensor
    texts_BLX: Tensor


@dataclass(frozen=True, eq=False)
class Sequences:
    """The stream events of U users at one anchor, user by user in the order of time."""

    users: NDArray[np.str_]
    """Sorted; each has an event."""
    offsets_U1: NDArray[np.int64]
    items_N: NDArray[np.int64]
    modalities_N: NDArray[np.int64]
    """From 1, in the order of the config's streams."""
    categories_N: NDArray[np.int64]
    hours_N: NDArray[np.int64]
    """Hour of the day on the clocks of the config's timezone, from 1."""
    gaps_N: NDArray[np.float32]
    """log(1 + days since the user's event before); 0 of the first one."""
    seconds_N: NDArray[np.float64]
    """Since the epoch."""
    numbers_NC: NDArray[np.float32]
    """asinh of the modality's numeric columns; 0 where null and beyond its columns."""
    text_rows_N: NDArray[np.int64]
    texts_TX: NDArray[np.float16]
    """Vectors of the distinct texts, shared by all anchors of a log."""

    @property
    def num_events_U(self) -> NDArray[np.int64]:
        """Events of each user."""
        return np.diff(self.offsets_U1)

    def batch(self, users: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Batch:
        """Some consecutive events of each of `users`, from the event `starts` on (0: the oldest one)."""
        longest = int(lengths.max(initial=0))
        places = np.arange(longest)
        known_BL = places < lengths[:, None]
        rows_BL = np.where(known_BL, (self.offsets_U1[users] + starts)[:, None] + places, 0)

        def padded(values: NDArray[np.generic]) -> Tensor:
            chosen = values[rows_BL]
            chosen[~known_BL] = 0
            return torch.from_numpy(chosen)

        texts_BLX = self.texts_TX[self.text_rows_N[rows_BL]].astype(np.float32)
        texts_BLX[~known_BL] = 0
        return Batch(
            lengths_B=lengths,
            items_BL=padded(self.items_N),
            modalities_BL=padded(self.modalities_N),
            categories_BL=padded(self.categories_N),
            hours_BL=padded(self.hours_N),
            gaps_BL=padded(self.gaps_N),
            seconds_BL=padded(self.seconds_N),
            numbers_BLC=padded(self.numbers_NC),
            texts_BLX=torch.from_numpy(texts_BLX),
        )

    def newest(self, users: NDArray[np.int64], most: int) -> Batch:
        """The newest events of `users`, at most so many of each."""
        lengths = np.minimum(self.num_events_U[users], most)
        return self.batch(users, self.num_events_U[users] - lengths, lengths)


@dataclass(frozen=True)
class Sizes:
    """How many numbers there are of what an event has."""

    items: int
    """Padding and other included; so below."""
    categories: int
    modalities: int
    numbers: int
    """The most numeric columns that a modality has."""
    text_dim: int
