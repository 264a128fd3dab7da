"""What the two layouts of a user's input have in common: how prefixes and questions become rows of a language model.

`AnchoredLayout` is the one of question-anchored counts, `PaperLayout` the published one.
"""

# B users, S questions, W words of a question, T rows of all users, D model width

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from updater.model.batch import Int64, UserBatch, segment_rows

Run = Callable[[nn.Module, Tensor], Tensor]
"""Applies a module to rows: directly in training, in calls of fixed shape in serving."""
Add = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Adds up weighted rows of each user, as `anchored_counts.sum_padded` does."""
Shifts = Sequence[Tensor | None]
"""What the scenario of each question learned to add to its key, (KEY_DIM,); None where it learned nothing."""


def run_module(module: nn.Module, rows: Tensor) -> Tensor:
    """Apply `module` to all rows at once, with autograd."""
    result: Tensor = module(rows)
    return result


@dataclass(frozen=True)
class PackedRows:
    """Input embeddings of several users, each [prefix][words, end of question 1]…, users one after the other."""

    rows_TD: Tensor
    prefix_lengths_B: Int64


class Layout(Protocol):
    """From users to input embeddings."""

    def served(self) -> list[nn.Module]:
        """The modules with weights that are applied to rows."""

    def lengths(self, users: Any) -> Int64:
        """Tokens of each user's prefix, shape (B,)."""

    def users(self, batch: UserBatch, run: Run = run_module) -> Any:
        """What is known of the users before a question is asked; its `select` takes some of them."""

    def ends(self, users: Any, questions_SX: Tensor, shifts: Shifts, run: Run, add: Add) -> Tensor:
        """What <USER_EMB> is given beside its learned vector, per user and question: shape (B, S, D)."""

    def rows(
        self,
        users: Any,
        words: Sequence[Tensor],
        ends_BSD: Tensor,
        run: Run = run_module,
        most_texts: int | None = None,
    ) -> PackedRows:
        """Input embeddings of the users' prefixes and questions: the words of each (W, D), then its end.

        `most_texts` bounds the tokens of texts further than the config does.
        """


def assemble(
    prefix: Sequence[Tensor], pieces: Sequence[tuple[Any, Any]], words: Sequence[Tensor], ends_BSD: Tensor
) -> PackedRows:
    """Lay out users from tables of rows.

    Args:
        prefix: tables that prefixes are made of, in this order one below the other.
        pieces: what a prefix is made of, in order: per user the first row in these tables, and how many rows.
        words: of each question.
        ends_BSD: the last row of each question.
    """
    num_users = len(ends_BSD)
    table = torch.cat([*prefix, *words, ends_BSD.flatten(0, 1)])
    prefix_lengths_B = np.sum([np.broadcast_to(lengths, num_users) for _, lengths in pieces], axis=0).astype(np.int64)
    every = list(pieces)
    start = sum(map(len, prefix))
    ends = start + sum(map(len, words)) + np.arange(num_users) * len(words)
    for number, rows in enumerate(words):
        every += [(start, len(rows)), (ends + number, 1)]
        start += len(rows)
    starts, lengths = (
        np.stack([np.broadcast_to(part, num_users) for part in parts], axis=1).astype(np.int64).ravel()
        for parts in zip(*every, strict=True)
    )
    index = torch.from_numpy(segment_rows(starts, lengths)).to(table.device)
    return PackedRows(table.index_select(0, index), prefix_lengths_B)
