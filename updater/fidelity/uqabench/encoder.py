"""A small encoder of sequences, in the manner of SASRec (arXiv 1808.09781): a causal transformer over positions.

A position is the mean of each feature's embeddings, side by side, mapped to the encoder's width (UQABench, section 4).
A user's vector is the mean of the states of all positions: the released adapter maps each position's state linearly
and takes the mean of that, which is the map of the mean.
"""

# B rows, T positions of the longest one, P positions of all, W width, I width of an item, V items

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from updater.fidelity.uqabench.config import UqaConfig
from updater.fidelity.uqabench.files import FEATURES
from updater.fidelity.uqabench.sequences import Sequences

DROPOUT = 0.1
TABLE_STD = 0.02
FEED_FORWARD = 3
"""Hidden width of a layer's feed-forward part, in widths of the encoder: 1,536 for 512 as released."""


class SequenceEncoder(nn.Module):
    """Tables of embeddings, a transformer, and a head whose weights are those of the table of items."""

    def __init__(self, config: UqaConfig, table_rows: Mapping[str, int]) -> None:
        """`table_rows`: rows of each table of FEATURES."""
        super().__init__()
        dims = {table: config.item_dim if table == "item" else config.side_dim for table in table_rows}
        # Sparse: a step touches some thousand rows, of a million.
        self.tables = nn.ModuleDict(
            {
                table: nn.EmbeddingBag(rows, dims[table], mode="mean", sparse=True, include_last_offset=True)
                for table, rows in table_rows.items()
            }
        )
        for weight in self.tables.parameters():
            nn.init.normal_(weight, std=TABLE_STD)
        self.project = nn.Linear(sum(dims[table] for table in FEATURES.values()), config.width)
        self.place = nn.Embedding(config.max_events, config.width)
        nn.init.normal_(self.place.weight, std=TABLE_STD)
        self.norm_in = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(DROPOUT)
        layer = nn.TransformerEncoderLayer(
            config.width,
            config.heads,
            FEED_FORWARD * config.width,
            DROPOUT,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, config.layers, norm=nn.LayerNorm(config.width), enable_nested_tensor=False
        )
        self.to_item = nn.Linear(config.width, config.item_dim)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.project.weight.device

    @property
    def item_table(self) -> Tensor:
        """The items' embeddings, shape (V, I)."""
        weight = self.tables["item"].weight
        assert isinstance(weight, Tensor)
        return weight

    def states(self, sequences: Sequences) -> Tensor:
        """The state at each position, which knows that position and those before it, shape (P, W)."""
        row_P, place_P = (torch.from_numpy(each).to(self.device) for each in (sequences.row_P, sequences.place_P))
        position_PW = self.project(torch.cat([self._mean(sequences, name) for name in FEATURES], dim=1))
        position_PW = self.dropout(self.norm_in(position_PW + self.place(place_P)))
        longest = int(sequences.lengths_B.max(initial=1)) or 1
        padded_BTW = position_PW.new_zeros(len(sequences.lengths_B), longest, position_PW.shape[1])
        # Padded on the right, where the causal mask hides it.
        padded_BTW = padded_BTW.index_put((row_P, place_P), position_PW)
        mask = nn.Transformer.generate_square_subsequent_mask(longest, device=self.device)
        states_PW: Tensor = self.layers(padded_BTW, mask=mask, is_causal=True)[row_P, place_P]
        return states_PW

    def user_vectors(self, sequences: Sequences) -> Tensor:
        """The mean of each row's states, shape (B, W); zeros for a row without positions."""
        states_PW = self.states(sequences)
        row_P = torch.from_numpy(sequences.row_P).to(self.device)
        lengths_B = torch.from_numpy(sequences.lengths_B).to(self.device)
        sums_BW = states_PW.new_zeros(len(lengths_B), states_PW.shape[1]).index_add(0, row_P, states_PW)
        return sums_BW / lengths_B.clamp(min=1)[:, None]

    def item_queries(self, states_PW: Tensor) -> Tensor:
        """What the next item's embedding should be like, shape (P, I)."""
        queries_PI: Tensor = self.to_item(states_PW)
        return queries_PI

    def items(self, ids: Tensor) -> Tensor:
        """Embeddings of items, whose gradient is sparse as that of the tables is."""
        return F.embedding(ids, self.item_table, sparse=True)

    def _mean(self, sequences: Sequences, name: str) -> Tensor:
        """The mean embedding of a feature at each position; zeros where there is no id."""
        counts_P = torch.from_numpy(sequences.counts_P[name])
        offsets = F.pad(counts_P.cumsum(0), (1, 0)).to(self.device)
        mean_P: Tensor = self.tables[FEATURES[name]](torch.from_numpy(sequences.ids_N[name]).to(self.device), offsets)
        return mean_P
