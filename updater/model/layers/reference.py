"""The plain way to read scenario embeddings off any Hugging Face causal language model; differentiable.

It is what training differentiates, what architectures without a packed decoder are served with, and what the packed
decoder is tested against.
"""

# B users, S suffixes, Q rows of all suffixes, P rows of a prefix, T rows of all users, D model width

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from updater.model.batch import Int64

Read = Callable[[Any, Tensor, Int64, Sequence[int]], Tensor]
"""As `read_suffixes`."""


def read_suffixes(backbone: Any, rows_TD: Tensor, prefix_lengths_B: Int64, suffix_lengths: Sequence[int]) -> Tensor:
    """Hidden states at the end of each suffix, one pass per user over its prefix and all suffixes.

    The mask is explicit: without one, transformers takes restarting positions for packed sequences and silently hides
    the prefix from all suffixes but the first.

    Args:
        backbone: a Hugging Face causal language model.
        rows_TD: input embeddings, per user the prefix and then all suffixes, shape (T, D).
        prefix_lengths_B: rows of each user's prefix.
        suffix_lengths: rows of each suffix, the same for all users.

    Returns:
        Final hidden states, after the last norm, shape (B, S, D).
    """
    num_rows = sum(suffix_lengths)
    lengths = torch.tensor(suffix_lengths)
    ends_S = lengths.cumsum(0)
    owner_Q = torch.repeat_interleave(torch.arange(len(suffix_lengths)), lengths)
    within_Q = torch.arange(num_rows) - torch.repeat_interleave(ends_S - lengths, lengths)
    read, start = [], 0
    for prefix_length in prefix_lengths_B.tolist():
        size = prefix_length + num_rows
        allowed = torch.ones(size, size, dtype=torch.bool).tril()
        allowed[prefix_length:, prefix_length:] &= owner_Q[:, None] == owner_Q
        mask = torch.zeros(size, size, dtype=rows_TD.dtype).masked_fill(~allowed, torch.finfo(rows_TD.dtype).min)
        positions = torch.cat((torch.arange(prefix_length), prefix_length + within_Q))
        states = backbone.base_model(
            inputs_embeds=rows_TD[start : start + size].unsqueeze(0),
            attention_mask=mask[None, None].to(rows_TD.device),
            position_ids=positions[None].to(rows_TD.device),
            use_cache=False,
        ).last_hidden_state
        read.append(states[0, prefix_length + ends_S - 1])
        start += size
    return torch.stack(read)
