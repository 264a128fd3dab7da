"""An encoder: events, the blocks of its architecture, and scores of the next item by the items' own embeddings."""

import torch
from torch import Tensor, nn

from updater.encoders.config import Architecture, EncoderConfig
from updater.encoders.events import EventInputs
from updater.encoders.gru4rec import Gru4Rec
from updater.encoders.hstu import Hstu
from updater.encoders.mamba4rec import Mamba4Rec
from updater.encoders.sasrec import SasRec
from updater.encoders.sequences import OTHER, Batch, Sizes

BLOCKS: dict[Architecture, type[SasRec | Gru4Rec | Hstu | Mamba4Rec]] = {
    "sasrec": SasRec,
    "gru4rec": Gru4Rec,
    "hstu": Hstu,
    "mamba4rec": Mamba4Rec,
}


class SequenceEncoder(nn.Module):
    """States of a user after each event, and what each expects next."""

    def __init__(self, config: EncoderConfig, sizes: Sizes, item_counts: Tensor) -> None:
        """Random weights from torch's generator.

        Args:
            config: what is built.
            sizes: of what events have.
            item_counts: how often each item occurs, shape (items,). Its logarithm is where the items' biases begin, so
                that no step has to learn what is common.
        """
        super().__init__()
        self.config = config
        self.events = EventInputs(config, sizes)
        self.blocks = BLOCKS[config.architecture](config)
        self.norm = nn.LayerNorm(config.width)
        self.bias = nn.Parameter(torch.log((1.0 + item_counts) / (1.0 + item_counts).sum()))

    def forward(self, batch: Batch) -> Tensor:
        """The state after each event, which knows nothing of later ones, shape (B, L, W)."""
        states_BLW: Tensor = self.norm(self.blocks(self.events(batch), batch.seconds_BL))
        return states_BLW

    def scores(self, states_NW: Tensor) -> Tensor:
        """Logits of the next item, from OTHER on: padding is none. Shape (N, items - 1)."""
        return states_NW @ self.events.item.weight[OTHER:].T + self.bias[OTHER:]
