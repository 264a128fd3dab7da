"""What an event is to an encoder: the embedding of its item and, where wanted, side information and its text."""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from updater.encoders.config import EncoderConfig
from updater.encoders.sequences import HOURS, PADDING, Batch, Sizes

INITIAL_STD = 0.02
"""Of embeddings."""


class EventInputs(nn.Module):
    """The sum of the parts of each event, normalized over its W numbers."""

    def __init__(self, config: EncoderConfig, sizes: Sizes) -> None:
        super().__init__()
        width = config.width
        self.item = embedding(sizes.items, width)
        self.side = _Side(width, sizes) if config.side else None
        self.text = nn.Linear(sizes.text_dim, width) if config.text else None
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Events, shape (B, L, W)."""
        events_BLW: Tensor = self.item(batch.items_BL)
        if self.side is not None:
            events_BLW = events_BLW + self.side(batch)
        if self.text is not None:
            events_BLW = events_BLW + self.text(batch.texts_BLX)
        normalized: Tensor = self.dropout(self.norm(events_BLW))
        return normalized


class _Side(nn.Module):
    """Modality, category, hour, the time since the event before, and numeric columns, each with weights of its own in
    each modality.
    """

    def __init__(self, width: int, sizes: Sizes) -> None:
        super().__init__()
        self.num_modalities = sizes.modalities
        self.modality = embedding(sizes.modalities, width)
        self.category = embedding(sizes.categories, width)
        self.hour = embedding(HOURS + 1, width)
        self.gap = nn.Linear(1, width)
        self.numbers = nn.Linear(sizes.modalities * sizes.numbers, width, bias=False)

    def forward(self, batch: Batch) -> Tensor:
        of_modality_BLM = one_hot(batch.modalities_BL, self.num_modalities).to(batch.numbers_BLC.dtype)
        columns_BLK = torch.einsum("blm,blc->blmc", of_modality_BLM, batch.numbers_BLC).flatten(2)
        named = self.modality(batch.modalities_BL) + self.category(batch.categories_BL) + self.hour(batch.hours_BL)
        measured = self.gap(batch.gaps_BL[..., None]) + self.numbers(columns_BLK)
        summed: Tensor = named + measured
        return summed


def embedding(count: int, width: int) -> nn.Embedding:
    """Small random vectors, that of padding zero."""
    made = nn.Embedding(count, width, padding_idx=PADDING)
    with torch.no_grad():
        made.weight.normal_(std=INITIAL_STD)
        made.weight[PADDING] = 0
    return made
