"""Lean forward of Qwen2- and Llama-like decoders over packs of users and all their scenario suffixes.

All rows of a pack lie flat, without padding, user by user: [prefix][suffix 1]…[suffix S]. Row-wise work runs in calls
of ROWS rows, attention user by user, so an embedding's bits do not depend on who else is in the pack (only on the
set of suffixes). A suffix sees its user's prefix and its own earlier tokens, with positions that follow the prefix.
"""

# B users, S suffixes, Q rows of all suffixes, P rows of a prefix, T rows of the pack, D model width, H heads of width K

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from updater.model.batch import Int64
from updater.model.layers.linear import PackedLinear

ROWS = 512
"""Rows of each call of a linear layer."""
READ_ROWS = 64
"""The same for the few rows that are read, in the last layer."""
GROUP_ROWS = 80
"""Suffix rows that share a call of attention: they see their own suffix only, and all others cost time."""

MODEL_TYPES = ("qwen2", "llama")
ROPE_TYPES = ("default", "linear", "llama3", "yarn")


def is_supported(config: Any) -> bool:
    """True if PackedDecoder computes the architecture of this Hugging Face config."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type in MODEL_TYPES
        and config.hidden_act == "silu"
        and head_dim % 2 == 0
        and rope.get("rope_type", "default") in ROPE_TYPES
        and rope.get("partial_rotary_factor", 1.0) == 1.0
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    )


class _Layer:
    """A decoder layer's weights in serving layout, with the norms' weights folded into the layers that follow them."""

    def __init__(self, layer: Any, head_dim: int, last: bool, dtype: torch.dtype) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        # Rotary pairs (i, i + K/2) are made neighbours, which complex numbers need; scores do not change.
        pairs = torch.arange(head_dim).view(2, -1).T.flatten()
        q, k = (_permute(linear, pairs) for linear in (attention.q_proj, attention.k_proj))
        v = _weights(attention.v_proj)
        norm = layer.input_layernorm.weight
        if last:
            self.q, self.kv = _pack([q], norm, READ_ROWS, dtype), _pack([k, v], norm, ROWS, dtype)
        else:
            self.qkv = _pack([q, k, v], norm, ROWS, dtype)
        rows = READ_ROWS if last else ROWS
        self.out = _pack([_weights(attention.o_proj)], None, rows, dtype)
        self.gate_up = _pack(
            [_weights(mlp.gate_proj), _weights(mlp.up_proj)], layer.post_attention_layernorm.weight, rows, dtype
        )
        self.down = _pack([_weights(mlp.down_proj)], None, rows, dtype)


Weights = tuple[Tensor, Tensor]


def _weights(linear: nn.Linear) -> Weights:
    bias = linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
    return linear.weight.detach(), bias.detach()


def _permute(linear: nn.Linear, pairs: Tensor) -> Weights:
    weight, bias = _weights(linear)
    return weight.view(-1, len(pairs), weight.shape[1])[:, pairs].flatten(0, 1), bias.view(-1, len(pairs))[
        :, pairs
    ].flatten()


def _pack(parts: list[Weights], norm: Tensor | None, rows: int, dtype: torch.dtype) -> PackedLinear:
    weight = torch.cat([part[0] for part in parts])
    bias = torch.cat([part[1] for part in parts])
    if norm is not None:
        weight = weight * norm.detach()
    return PackedLinear(weight, bias if bool(bias.any()) else None, rows, dtype)


class PackedDecoder:
    """A snapshot of a causal language model's weights, for inference.

    With `dtype` bfloat16 the operands of the matrix products are rounded to it; residuals, norms, attention and all
    sums stay float32.
    """

    def __init__(self, backbone: Any, dtype: torch.dtype = torch.float32) -> None:
        """Merge and pack the weights of `backbone`, whose config `is_supported`."""
        config, model = backbone.config, backbone.model
        self.num_heads = config.num_attention_heads
        self.num_kv_heads = config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.num_heads
        self.eps = config.rms_norm_eps
        self.layers = [_Layer(layer, self.head_dim, last=False, dtype=dtype) for layer in model.layers[:-1]]
        self.last = _Layer(model.layers[-1], self.head_dim, last=True, dtype=dtype)
        self.norm = model.norm.weight.detach()
        self._rotary = model.rotary_emb
        self._angles = torch.empty(0)

    def __call__(self, rows_TD: Tensor, prefix_lengths_B: Int64, suffix_lengths: Sequence[int]) -> Tensor:
        """Hidden states at the end of each suffix.

        Args:
            rows_TD: input embeddings, per user the prefix and then all suffixes, shape (T, D).
            prefix_lengths_B: rows of each user's prefix.
            suffix_lengths: rows of each suffix, the same for all users.

        Returns:
            Final hidden states, after the last norm, shape (B, S, D).
        """
        pack = _Pack(prefix_lengths_B, suffix_lengths)
        x_TD = rows_TD.new_zeros(len(rows_TD) + -len(rows_TD) % ROWS, rows_TD.shape[1])
        x_TD[: len(rows_TD)] = rows_TD
        turns_T = self._turns(pack, len(x_TD))
        for layer in self.layers:
            self._layer(layer, x_TD, turns_T, pack)
        read_RD = self._last_layer(x_TD, turns_T, pack)
        return read_RD.view(len(prefix_lengths_B), len(suffix_lengths), -1)

    def _layer(self, layer: _Layer, x_TD: Tensor, turns_T: Tensor, pack: "_Pack") -> None:
        """One layer, in place."""
        num_q, num_kv, width = self.num_heads, self.num_kv_heads, self.head_dim
        turned = (num_q + num_kv) * width
        qkv = x_TD.new_empty(len(x_TD), turned + num_kv * width)
        for start in range(0, len(x_TD), ROWS):
            chunk = slice(start, start + ROWS)
            self._turn(layer.qkv(self._normed(x_TD[chunk])), turns_T[chunk], turned, qkv[chunk])
        attended = torch.zeros(len(x_TD), num_q * width)
        qkv_TH = qkv.view(len(qkv), -1, width)
        for start, middle, end in pack.spans:
            q, k, v = qkv_TH[start:end].transpose(0, 1).unsqueeze(0).split_with_sizes((num_q, num_kv, num_kv), dim=1)
            length = middle - start
            prefix = scaled_dot_product_attention(
                q[:, :, :length], k[:, :, :length], v[:, :, :length], is_causal=True, enable_gqa=True
            )
            attended[start:middle] = prefix[0].transpose(0, 1).flatten(1)
            for group in pack.groups:
                own = slice(length + group.start, length + group.stop)
                suffix = scaled_dot_product_attention(
                    q[:, :, own],
                    _seen(k, length, own),
                    _seen(v, length, own),
                    attn_mask=pack.mask(length, group),
                    enable_gqa=True,
                )
                attended[middle + group.start : middle + group.stop] = suffix[0].transpose(0, 1).flatten(1)
        for start in range(0, len(x_TD), ROWS):
            chunk = slice(start, start + ROWS)
            self._finish(layer, x_TD[chunk], attended[chunk])

    def _last_layer(self, x_TD: Tensor, turns_T: Tensor, pack: "_Pack") -> Tensor:
        """The last layer where suffixes end, shape (B S, D): of all other rows it needs keys and values only."""
        num_q, num_kv, width = self.num_heads, self.num_kv_heads, self.head_dim
        kv = x_TD.new_empty(len(x_TD), 2 * num_kv * width)
        for start in range(0, len(x_TD), ROWS):
            chunk = slice(start, start + ROWS)
            self._turn(self.last.kv(self._normed(x_TD[chunk])), turns_T[chunk], num_kv * width, kv[chunk])
        num_read = len(pack.read)
        index = nn.functional.pad(torch.from_numpy(pack.read), (0, -num_read % READ_ROWS))
        x_RD, turns_R = x_TD[index], turns_T[index]
        q = x_RD.new_empty(len(index), num_q * width)
        for start in range(0, len(index), READ_ROWS):
            chunk = slice(start, start + READ_ROWS)
            self._turn(self.last.q(self._normed(x_RD[chunk])), turns_R[chunk], num_q * width, q[chunk])
        attended = torch.zeros(len(index), num_q * width)
        q_RH, kv_TH = q.view(len(q), -1, width), kv.view(len(kv), -1, width)
        for user, (start, middle, end) in enumerate(pack.spans):
            k, v = kv_TH[start:end].transpose(0, 1).unsqueeze(0).split_with_sizes((num_kv, num_kv), dim=1)
            own = slice(user * pack.num_suffixes, (user + 1) * pack.num_suffixes)
            y = scaled_dot_product_attention(
                q_RH[own].transpose(0, 1).unsqueeze(0), k, v, attn_mask=pack.read_mask(middle - start), enable_gqa=True
            )
            attended[own] = y[0].transpose(0, 1).flatten(1)
        for start in range(0, len(index), READ_ROWS):
            chunk = slice(start, start + READ_ROWS)
            self._finish(self.last, x_RD[chunk], attended[chunk])
            x_RD[chunk] = self._normed(x_RD[chunk]) * self.norm
        return x_RD[:num_read]

    def _finish(self, layer: _Layer, x: Tensor, attended: Tensor) -> None:
        """Output projection and MLP of a layer, added to `x` in place."""
        x += layer.out(attended)
        gate, up = layer.gate_up(self._normed(x)).chunk(2, dim=1)
        x += layer.down(silu(gate).mul_(up))

    def _normed(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + self.eps)

    def _turn(self, y: Tensor, turns: Tensor, turned: int, out: Tensor) -> None:
        """Write `y` to `out`, with its first `turned` columns rotated by their row's position."""
        y = y.float()
        shape = (len(y), -1, self.head_dim // 2, 2)
        pairs = torch.view_as_complex(y[:, :turned].view(shape))
        torch.mul(pairs, turns, out=torch.view_as_complex(out[:, :turned].view(shape)))
        out[:, turned:] = y[:, turned:]

    def _turns(self, pack: "_Pack", num_rows: int) -> Tensor:
        """Rotation of each row by its position, complex, shape (num_rows, 1, K / 2)."""
        longest = int(pack.positions.max()) + 1
        if len(self._angles) < longest:
            size = 2 ** (longest - 1).bit_length()
            cos, sin = self._rotary(torch.empty(0), torch.arange(size).unsqueeze(0))
            half = self.head_dim // 2
            self._angles = torch.complex(cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous())
        positions = nn.functional.pad(torch.from_numpy(pack.positions), (0, num_rows - len(pack.positions)))
        return self._angles[positions].unsqueeze(1)


def _seen(rows: Tensor, length: int, own: slice) -> Tensor:
    """A prefix of that length and the rows `own` behind it, of keys or values (1, H, rows, K)."""
    if own.start == length:
        return rows[:, :, : own.stop]
    return torch.cat([rows[:, :, :length], rows[:, :, own]], dim=2)


class _Pack:
    """Where the users and suffixes of a pack lie, and who may see whom."""

    def __init__(self, prefix_lengths_B: Int64, suffix_lengths: Sequence[int]) -> None:
        num_rows = sum(suffix_lengths)
        self.num_suffixes = len(suffix_lengths)
        starts_B = np.concatenate(([0], np.cumsum(prefix_lengths_B + num_rows)))[:-1]
        middles_B = starts_B + prefix_lengths_B
        self.spans = list(zip(starts_B.tolist(), middles_B.tolist(), (middles_B + num_rows).tolist(), strict=True))
        """Per user its first prefix row, its first suffix row, and the row after its last."""
        ends_S = np.cumsum(suffix_lengths)
        self.read = (middles_B[:, None] + ends_S - 1).ravel()
        """Rows at which suffixes end, user by user."""
        within_Q = np.arange(num_rows) - np.repeat(ends_S - suffix_lengths, suffix_lengths)
        self.positions = np.concatenate(
            [part for length in prefix_lengths_B for part in (np.arange(length), length + within_Q)]
        )
        """Position of each row."""
        self._longest = int(prefix_lengths_B.max())
        owner_Q = torch.from_numpy(np.repeat(np.arange(self.num_suffixes), suffix_lengths))
        allowed_QQ = (owner_Q[:, None] == owner_Q) & torch.ones(num_rows, num_rows, dtype=torch.bool).tril()
        self._mask = torch.zeros(num_rows, self._longest + num_rows)
        self._mask[:, self._longest :].masked_fill_(~allowed_QQ, float("-inf"))
        self._read_mask = self._mask[torch.from_numpy(ends_S - 1)]
        self.groups = _groups(suffix_lengths)
        """Suffix rows whose attention is computed together; whole suffixes."""

    def mask(self, prefix_length: int, group: range) -> Tensor:
        """Additive mask of a group's suffix rows over a prefix of that length and those rows."""
        # A suffix sees itself alone, so that the columns of its group are all it needs.
        prefix = self._longest - prefix_length
        rows = self._mask[group.start : group.stop]
        if group.start == 0:
            return rows[:, prefix : self._longest + group.stop]
        return torch.cat(
            [rows[:, prefix : self._longest], rows[:, self._longest + group.start : self._longest + group.stop]], 1
        )

    def read_mask(self, prefix_length: int) -> Tensor:
        """The same for the rows at which suffixes end."""
        return self._read_mask[:, self._longest - prefix_length :]


def _groups(suffix_lengths: Sequence[int]) -> list[range]:
    """Rows of consecutive suffixes that add up to at most GROUP_ROWS; a longer suffix goes alone."""
    groups = [range(0)]
    for length in suffix_lengths:
        last = groups[-1]
        if last and len(last) + length > GROUP_ROWS:
            groups.append(range(last.stop, last.stop + length))
        else:
            groups[-1] = range(last.start, last.stop + length)
    return groups
