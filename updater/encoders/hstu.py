"""HSTU (arXiv 2402.17152, section 3.2): attention with SiLU in the place of the softmax, biased by place and time."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from updater.encoders.config import EncoderConfig
from updater.encoders.events import INITIAL_STD

TIME_BUCKETS = 64
"""Buckets of the time between two events; at 1.35 times the seconds begins another."""
BUCKET_WIDTH = 0.301
"""Of a bucket, in natural logarithms of seconds."""


class Hstu(nn.Module):
    """Layers of pointwise aggregated attention.

    The time of a pair is that between its own two events. The paper's code takes the time of the event that is to be
    predicted, which whoever embeds a user does not know.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))

    def forward(self, events_BLW: Tensor, seconds_BL: Tensor) -> Tensor:
        """States, shape (B, L, W)."""
        length = events_BLW.shape[1]
        places = torch.arange(length)
        distance_LL = (places[:, None] - places).clamp(min=0)
        between_BLL = (seconds_BL[:, :, None] - seconds_BL[:, None]).clamp(min=1).float()
        bucket_BLL = (between_BLL.log() / BUCKET_WIDTH).long().clamp(max=TIME_BUCKETS - 1)
        for layer in self.layers:
            events_BLW = layer(events_BLW, distance_LL, bucket_BLL)
        return events_BLW


class _Layer(nn.Module):
    """U, V, Q, K = SiLU(f1(LN(X))); Y = f2(LN(A V) * U) + X with A = SiLU(Q K' + bias) / n (equations 1 to 3).

    n is the largest length instead of the batch's, so that a user's state does not depend on who else is computed.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads, self.max_events = config.heads, config.max_events
        self.norm, self.read_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.uvqk, self.out = nn.Linear(width, 4 * width), nn.Linear(width, width)
        self.distance = nn.Parameter(torch.empty(config.max_events).normal_(std=INITIAL_STD))
        self.time = nn.Embedding(TIME_BUCKETS, 1)
        nn.init.normal_(self.time.weight, std=INITIAL_STD)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states_BLW: Tensor, distance_LL: Tensor, bucket_BLL: Tensor) -> Tensor:
        u_BLW, v_BLW, q_BLW, k_BLW = silu(self.uvqk(self.norm(states_BLW))).chunk(4, -1)
        q_BHLK, k_BHLK, v_BHLK = (
            part.view(*part.shape[:2], self.num_heads, -1).transpose(1, 2) for part in (q_BLW, k_BLW, v_BLW)
        )
        bias_BLL = self.distance[distance_LL] + self.time(bucket_BLL).squeeze(-1)
        weights_BHLL = silu(q_BHLK @ k_BHLK.transpose(-1, -2) + bias_BLL[:, None]) / self.max_events
        read_BLW = (weights_BHLL.tril() @ v_BHLK).transpose(1, 2).flatten(2)
        changed_BLW: Tensor = self.out(self.dropout(self.read_norm(read_BLW) * u_BLW))
        return states_BLW + changed_BLW
