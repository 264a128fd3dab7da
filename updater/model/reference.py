"""The plain way to read scenario embeddings off any Hugging Face causal language model; differentiable.

It is what training differentiates, what architectures without a packed decoder are served with, and what the packed
decoder is tested against.
"""

# B users, S suffixes, Q rows of all suffixes, P rows of a prefix, T rows of all users, L of the longest, D model width

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from updater.model.batch import Int64


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


def read_suffixes_together(
    backbone: Any, rows_TD: Tensor, prefix_lengths_B: Int64, suffix_lengths: Sequence[int]
) -> Tensor:
    """As `read_suffixes`, of all users in one pass, padded at the end to the longest: for training."""
    num_rows = sum(suffix_lengths)
    ends_S = np.cumsum(suffix_lengths)
    lengths_B = prefix_lengths_B + num_rows
    rows_BLD = nn.utils.rnn.pad_sequence(list(torch.split(rows_TD, lengths_B.tolist())), batch_first=True)
    place_L = np.arange(rows_BLD.shape[1])
    within_BL = place_L - prefix_lengths_B[:, None]
    is_suffix_BL = (within_BL >= 0) & (within_BL < num_rows)
    owner_Q = np.repeat(np.arange(len(ends_S)), suffix_lengths)
    start_Q = np.repeat(ends_S - suffix_lengths, suffix_lengths)
    suffix_BL = np.clip(within_BL, 0, num_rows - 1)
    # Owner -1 is the prefix, -2 padding; within an owner the order of rows is that of time.
    owner_BL = np.where(is_suffix_BL, owner_Q[suffix_BL], np.where(within_BL < 0, -1, -2))
    positions_BL = np.where(is_suffix_BL, prefix_lengths_B[:, None] + within_BL - start_Q[suffix_BL], place_L)
    owner = torch.from_numpy(owner_BL)
    allowed = (owner[:, :, None] == owner[:, None]) | (owner == -1)[:, None]
    mask = torch.zeros(allowed.shape, dtype=rows_TD.dtype)
    mask.masked_fill_(~allowed.tril(), torch.finfo(rows_TD.dtype).min)
    states_BLD = backbone.base_model(
        inputs_embeds=rows_BLD,
        attention_mask=mask[:, None].to(rows_TD.device),
        position_ids=torch.from_numpy(positions_BL).to(rows_TD.device),
        use_cache=False,
    ).last_hidden_state
    users = torch.arange(len(prefix_lengths_B))[:, None]
    read: Tensor = states_BLD[users, torch.from_numpy(prefix_lengths_B[:, None] + ends_S - 1)]
    return read
