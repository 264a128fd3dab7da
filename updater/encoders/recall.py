"""How often the next item is among the ten that were expected, of encoders and of what is simpler."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from updater.encoders.encoder import SequenceEncoder
from updater.encoders.sequences import FIRST, OTHER, Batch, Sequences

MOST = 10
"""Items that are expected."""
USERS_PER_BATCH = 32

Int64 = NDArray[np.int64]


def next_items(batch: Batch) -> tuple[Tensor, Tensor]:
    """Where an event follows another one: a mask of the states before the last, shape (B, L - 1), and the items."""
    mask_BL = torch.from_numpy(np.arange(batch.items_BL.shape[1] - 1) < batch.lengths_B[:, None] - 1)
    return mask_BL, batch.items_BL[:, 1:][mask_BL]


def encoder_recall(encoder: SequenceEncoder, sequences: Sequences, users: Int64) -> float:
    """Recall@10 over the newest events of `users`; NaN if nobody has two events.

    All named items are ranked. Events whose item is none of them are not asked about, nor is `other` expected.
    """
    hits = asked = 0
    encoder.eval()
    with torch.inference_mode():
        for batch in _batches(sequences, users, encoder.config.max_events):
            mask_BL, items_N = next_items(batch)
            named_N = items_N >= FIRST
            scores_NI = encoder.scores(encoder(batch)[:, :-1][mask_BL][named_N])[:, FIRST - OTHER :]
            own_N1 = scores_NI.gather(1, (items_N[named_N] - FIRST)[:, None])
            hits += int(((scores_NI > own_N1).sum(1) < MOST).sum())
            asked += int(named_N.sum())
    return hits / asked if asked else float("nan")


def popularity_recall(sequences: Sequences, users: Int64, most_events: int) -> float:
    """The same of the ten commonest items of the training users: items are numbered by how common they are."""
    hits = asked = 0
    for batch in _batches(sequences, users, most_events):
        _, items_N = next_items(batch)
        hits += int(((items_N >= FIRST) & (items_N < FIRST + MOST)).sum())
        asked += int((items_N >= FIRST).sum())
    return hits / asked if asked else float("nan")


def newest_recall(sequences: Sequences, users: Int64, most_events: int) -> float:
    """The same of the user's own ten newest distinct items."""
    hits = asked = 0
    for batch in _batches(sequences, users, most_events):
        for length, row in zip(batch.lengths_B.tolist(), batch.items_BL.tolist(), strict=True):
            newest: dict[int, None] = {}
            for item, following in pairwise(row[:length]):
                if item >= FIRST:
                    newest.pop(item, None)
                    newest[item] = None
                if following >= FIRST:
                    asked += 1
                    hits += following in [*newest][-MOST:]
    return hits / asked if asked else float("nan")


def _batches(sequences: Sequences, users: Int64, most_events: int) -> Iterator[Batch]:
    """Users with two events or more, those of like length together, so that little is padded."""
    lengths = sequences.num_events_U[users]
    order = users[np.argsort(lengths, kind="stable")]
    order = order[sequences.num_events_U[order] > 1]
    for start in range(0, len(order), USERS_PER_BATCH):
        yield sequences.newest(order[start : start + USERS_PER_BATCH], most_events)
