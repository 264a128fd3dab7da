"""Pre-training of the encoder: which item comes next, told apart from items that are drawn at random.

The released code compares with every item at every position. Here a step draws `negatives` of them, uniformly, because
a million items at each of ten thousand positions do not fit into memory; a smaller table is compared with whole.
"""

# B rows, P positions, M of them with a next item, W width, I width of an item, V items, K drawn ones

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from updater.errors import DataRefusedError
from updater.fidelity.uqabench.config import UqaConfig
from updater.fidelity.uqabench.encoder import SequenceEncoder
from updater.fidelity.uqabench.files import RowFile
from updater.fidelity.uqabench.sequences import Sequences, read_sequences
from updater.runtime.deployment import Progress

CLIP_NORM = 1.5
TOP = 10
EVALUATED_BATCH = 16
LOSSES = 50
"""Steps at the end whose loss is averaged."""


@dataclass(frozen=True)
class Pretraining:
    """How well the next item was learned, on users who took no part."""

    steps: int
    loss: float
    """Of the last steps, on training users; NaN without a step."""
    users: int
    """Users of the evaluation file with at least two items."""
    recall_at_10: float
    """Share of them whose newest item is among the ten likeliest of all items, given those before it."""
    ndcg_at_10: float


def pretrain(
    config: UqaConfig, table_rows: Mapping[str, int], train: RowFile, device: str, progress: Progress
) -> tuple[SequenceEncoder, float]:
    """An encoder and the loss of its last steps; the same for the same arguments on a CPU.

    Raises:
        DataRefusedError: the file has no two items of a user in a row.
    """
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoder = SequenceEncoder(config, table_rows).to(device).train()
        tables = list(encoder.tables.parameters())
        others = [weight for name, weight in encoder.named_parameters() if not name.startswith("tables.")]
        rate = config.pretrain_learning_rate
        optimizers = [torch.optim.SparseAdam(tables, lr=rate), torch.optim.AdamW(others, lr=rate, weight_decay=0.0)]
        for step, sequences in zip(range(config.pretrain_steps), _endless(train, config), strict=False):
            loss = next_item_loss(encoder, sequences, config.negatives)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(others, CLIP_NORM)
            for optimizer in optimizers:
                optimizer.step()
            losses = [*losses[1 - LOSSES :], float(loss.detach())]
            progress("pre-train encoder", step + 1, config.pretrain_steps)
    return encoder.eval().requires_grad_(False), float(np.mean(losses)) if losses else math.nan


def next_item_loss(encoder: SequenceEncoder, sequences: Sequences, negatives: int) -> Tensor:
    """Cross entropy of the next item at every position that has one, against drawn items or, if they are few, all."""
    targets, at = (torch.from_numpy(each).to(encoder.device) for each in _next_items(sequences))
    queries_MI = encoder.item_queries(encoder.states(sequences)[at])
    num_items = len(encoder.item_table)
    if num_items <= negatives:
        everything = torch.arange(num_items, device=encoder.device)
        return F.cross_entropy(queries_MI @ encoder.items(everything).T, targets)
    drawn_K = torch.randint(num_items, (negatives,)).to(encoder.device)
    right_M = (queries_MI * encoder.items(targets)).sum(dim=1, keepdim=True)
    wrong_MK = queries_MI @ encoder.items(drawn_K).T
    # The right item is no negative where it happens to be drawn.
    wrong_MK = wrong_MK.masked_fill(drawn_K[None, :] == targets[:, None], -torch.inf)
    return F.cross_entropy(torch.cat((right_M, wrong_MK), dim=1), torch.zeros_like(targets))


def evaluate_pretraining(
    encoder: SequenceEncoder, config: UqaConfig, evaluation: RowFile, loss: float, progress: Progress
) -> Pretraining:
    """Recall and NDCG of each user's newest item among all items, a few users at a time."""
    ranks: list[Tensor] = []
    done = 0
    with torch.inference_mode():
        for rows in evaluation.slices(EVALUATED_BATCH):
            sequences = read_sequences(rows, config.max_events)
            targets, at = _next_items(sequences)
            # Of each user the last position that has a next item.
            last = np.flatnonzero(np.diff(sequences.row_P[at], append=-1)) if len(at) else np.zeros(0, dtype=np.int64)
            queries = encoder.item_queries(encoder.states(sequences)[torch.from_numpy(at[last]).to(encoder.device)])
            scores_BV = queries @ encoder.item_table.T
            right_B = scores_BV.gather(1, torch.from_numpy(targets[last]).to(encoder.device)[:, None])
            # An item with the same score counts as a better one: equal scores for all are no knowledge.
            ranks.append((scores_BV >= right_B).sum(dim=1).cpu())
            done += rows.num_rows
            progress("evaluate encoder", done, evaluation.num_rows)
    rank = torch.cat(ranks).double().numpy() if ranks else np.zeros(0)
    found = rank <= TOP
    return Pretraining(
        steps=config.pretrain_steps,
        loss=loss,
        users=len(rank),
        recall_at_10=float(found.mean()) if len(rank) else math.nan,
        ndcg_at_10=float(np.where(found, 1 / np.log2(rank + 1), 0.0).mean()) if len(rank) else math.nan,
    )


def _next_items(sequences: Sequences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The items that follow, and the positions that they follow, both of shape (M,)."""
    items_P, row_P = sequences.items_P, sequences.row_P
    at = np.flatnonzero((row_P[1:] == row_P[:-1]) & (items_P[1:] >= 0))
    return items_P[at + 1], at


def _endless(file: RowFile, config: UqaConfig) -> Iterator[Sequences]:
    """Batches with something to learn, in a new order in each pass."""
    rng = np.random.default_rng(config.seed)
    while True:
        empty = True
        for rows in file.slices(config.pretrain_batch, rng):
            sequences = read_sequences(rows, config.max_events)
            if len(_next_items(sequences)[1]):
                empty = False
                yield sequences
        if empty:
            raise DataRefusedError(f"{file.path} has no user with two items; there is nothing to pre-train on.")
