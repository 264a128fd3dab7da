"""What `reference.read_suffixes` reads, for all users of a step at once, with autograd.

Rows lie flat, as in the packed decoder, so that layers work on no padding; attention is padded to the longest prefix
and the longest suffix of the step. Of the last layer only what is read is computed. The config's `attention_dropout`
leaves out a share of what a layer adds to its rows, which costs less than to leave out attention, and does more.
"""

# B users, S suffixes, W rows of the longest suffix, P rows of the longest prefix, T rows of all users,
# V queries of a suffix, D model width, H heads of width K

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import dropout, scaled_dot_product_attention

from updater.model.batch import Int64
from updater.model.layers.decoder import is_supported
from updater.model.layers.reference import read_suffixes


def read_suffixes_together(
    backbone: Any, rows_TD: Tensor, prefix_lengths_B: Int64, suffix_lengths: Sequence[int]
) -> Tensor:
    """As `read_suffixes`. Architectures that the packed decoder does not know are read one user at a time."""
    if not is_supported(backbone.config):
        return read_suffixes(backbone, rows_TD, prefix_lengths_B, suffix_lengths)
    model, places = backbone.base_model, _Places(prefix_lengths_B, suffix_lengths)
    cos, sin = model.rotary_emb(rows_TD, places.positions_T[None])
    turns = cos[0, :, None], sin[0, :, None]
    for layer in model.layers[:-1]:
        attention = layer.self_attn
        q, k, v = _heads(attention, layer.input_layernorm(rows_TD), turns, "qkv")
        prefix_q, prefix_k, prefix_v = (part[places.prefix_BP].transpose(1, 2) for part in (q, k, v))
        read = scaled_dot_product_attention(prefix_q, prefix_k, prefix_v, is_causal=True, enable_gqa=True)
        suffixes = _read_suffixes(attention, q[places.suffix_BSW], k, v, places, places.seen_SWW)
        attended = torch.cat([read.transpose(1, 2).flatten(2).flatten(0, 1), suffixes.flatten(0, 2)])
        rows_TD = _finish(layer, rows_TD, attended[places.attended_T])
    # Of all other rows the last layer needs keys and values only.
    layer, ends_BS = model.layers[-1], places.ends_BS
    normed_TD = layer.input_layernorm(rows_TD)
    k, v = _heads(layer.self_attn, normed_TD, turns, "kv")
    [q] = _heads(layer.self_attn, normed_TD[ends_BS.flatten()], [part[ends_BS.flatten()] for part in turns], "q")
    q = q.view(*ends_BS.shape, 1, *q.shape[1:])
    attended = _read_suffixes(layer.self_attn, q, k, v, places, places.seen_from_end_SW[:, None])
    states: Tensor = model.norm(_finish(layer, rows_TD[ends_BS], attended.squeeze(2)))
    return states


class _Places:
    """Where the rows of a step lie in the flat table, and who may see whom."""

    def __init__(self, prefix_lengths_B: Int64, suffix_lengths: Sequence[int]) -> None:
        lengths_S = np.array(suffix_lengths)
        num_users, width = len(prefix_lengths_B), int(lengths_S.max())
        ends_S = np.cumsum(lengths_S)
        starts_B = np.cumsum(prefix_lengths_B + ends_S[-1]) - (prefix_lengths_B + ends_S[-1])
        suffix_starts_BS = (starts_B + prefix_lengths_B)[:, None] + ends_S - lengths_S
        prefix_P, within_W = np.arange(int(prefix_lengths_B.max())), np.arange(width)
        in_prefix_BP = prefix_P < prefix_lengths_B[:, None]
        in_suffix_SW = within_W < lengths_S[:, None]
        # Padding stands for the first row, which exists; nothing that is read sees it.
        prefix_BP = np.where(in_prefix_BP, starts_B[:, None] + prefix_P, 0)
        suffix_BSW = np.where(in_suffix_SW, suffix_starts_BS[:, :, None] + within_W, 0)
        positions_T = np.zeros(int(prefix_lengths_B.sum()) + num_users * int(ends_S[-1]), dtype=np.int64)
        attended_T = np.zeros_like(positions_T)
        real_BSW = np.broadcast_to(in_suffix_SW, suffix_BSW.shape)
        positions_T[prefix_BP[in_prefix_BP]] = np.broadcast_to(prefix_P, prefix_BP.shape)[in_prefix_BP]
        positions_T[suffix_BSW[real_BSW]] = (prefix_lengths_B[:, None, None] + within_W + 0 * suffix_BSW)[real_BSW]
        attended_T[prefix_BP[in_prefix_BP]] = np.flatnonzero(in_prefix_BP)
        attended_T[suffix_BSW[real_BSW]] = prefix_BP.size + np.flatnonzero(real_BSW)
        self.prefix_BP = torch.from_numpy(prefix_BP)
        self.suffix_BSW = torch.from_numpy(suffix_BSW)
        self.positions_T = torch.from_numpy(positions_T)
        self.attended_T = torch.from_numpy(attended_T)
        """Where each row's attention is found: those of prefixes (B P) come first, then those of suffixes (B S W)."""
        self.ends_BS = torch.from_numpy(suffix_starts_BS + lengths_S - 1)
        self.in_prefix_BP = torch.from_numpy(in_prefix_BP)
        self.seen_SWW = torch.from_numpy((within_W <= within_W[:, None]) & in_suffix_SW[:, None])
        """Which rows of a suffix each of its rows sees."""
        self.seen_from_end_SW = torch.from_numpy(in_suffix_SW)


def _heads(attention: Any, normed: Tensor, turns: Sequence[Tensor], names: str) -> list[Tensor]:
    """Queries, keys or values (T, H, K), all but values turned by their row's position."""
    made = []
    for name in names:
        heads = getattr(attention, f"{name}_proj")(normed).unflatten(1, (-1, attention.head_dim))
        if name != "v":
            cos, sin = turns
            half = attention.head_dim // 2
            turned = torch.cat([-heads[..., half:], heads[..., :half]], dim=-1)
            heads = heads * cos + turned * sin
        made.append(heads)
    return made


def _read_suffixes(attention: Any, q: Tensor, k: Tensor, v: Tensor, places: _Places, seen_SVW: Tensor) -> Tensor:
    """Attention of rows of suffixes to their user's prefix and to their own suffix.

    Args:
        attention: the layer's.
        q: queries (B, S, V, H, K).
        k: keys of all rows (T, heads, K).
        v: values of all rows.
        places: the step's.
        seen_SVW: which rows of its own suffix a query sees.

    Returns:
        Shape (B, S, V, H K).
    """
    num_users, num_suffixes, num_queries, num_heads, width = q.shape
    shared = num_heads // k.shape[1]
    # A key serves several heads: they are queries of one head more.
    q = q.view(num_users, num_suffixes, num_queries, -1, shared, width) * attention.scaling
    to_prefix = torch.einsum("bsvghk,bpgk->bsvghp", q, k[places.prefix_BP])
    to_own = torch.einsum("bsvghk,bswgk->bsvghw", q, k[places.suffix_BSW])
    to_prefix = to_prefix.masked_fill(~places.in_prefix_BP[:, None, None, None, None], -torch.inf)
    to_own = to_own.masked_fill(~seen_SVW[None, :, :, None, None], -torch.inf)
    weights = torch.softmax(torch.cat([to_prefix, to_own], dim=-1), dim=-1)
    on_prefix, on_own = weights[..., : to_prefix.shape[-1]], weights[..., to_prefix.shape[-1] :]
    read = torch.einsum("bsvghp,bpgk->bsvghk", on_prefix, v[places.prefix_BP])
    read = read + torch.einsum("bsvghw,bswgk->bsvghk", on_own, v[places.suffix_BSW])
    return read.reshape(num_users, num_suffixes, num_queries, num_heads * width)


def _finish(layer: Any, rows: Tensor, attended: Tensor) -> Tensor:
    """Output projection and MLP of a layer, added to its rows."""
    share, training = layer.self_attn.attention_dropout, layer.training
    rows = rows + dropout(layer.self_attn.o_proj(attended), share, training)
    finished: Tensor = rows + dropout(layer.mlp(layer.post_attention_layernorm(rows)), share, training)
    return finished
