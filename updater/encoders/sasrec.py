"""SASRec (arXiv 1808.09781, section III): causal self-attention over a user's events."""

from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from updater.encoders.config import EncoderConfig
from updater.encoders.events import embedding


class SasRec(nn.Module):
    """Learned positions, then blocks of self-attention and a feed-forward layer.

    A position counts from the oldest event that is read, and not from the newest one as in the paper's code: so a
    later event changes no earlier state.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.positions = embedding(config.max_events + 1, config.width)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))

    def forward(self, events_BLW: Tensor, seconds_BL: Tensor) -> Tensor:
        """States, shape (B, L, W); times are not used."""
        states_BLW = events_BLW + self.positions.weight[1 : events_BLW.shape[1] + 1]
        for block in self.blocks:
            states_BLW = block(states_BLW)
        return states_BLW


class _Block(nn.Module):
    """x + Dropout(attention(LayerNorm(x))), and the same with the feed-forward layer (section III-B and III-C)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads = config.heads
        self.attention_norm, self.forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states_BLW: Tensor) -> Tensor:
        heads = self.qkv(self.attention_norm(states_BLW)).unflatten(-1, (3, self.num_heads, -1))
        q_BHLK, k_BHLK, v_BHLK = heads.permute(2, 0, 3, 1, 4)
        read_BLW = scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, is_causal=True).transpose(1, 2).flatten(2)
        states_BLW = states_BLW + self.dropout(self.out(read_BLW))
        fed_BLW = self.outer(self.dropout(relu(self.inner(self.forward_norm(states_BLW)))))
        fed: Tensor = states_BLW + self.dropout(fed_BLW)
        return fed
