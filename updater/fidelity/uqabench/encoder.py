"""An encoder of UQABench's sequences: its inputs and its head, around the blocks of one of the encoders of the project.

A position is the mean of each feature's embeddings, side by side, mapped to the encoder's width (UQABench, section 4).
A user's vector is the mean of the states of all positions: the released adapter maps each position's state linearly
and takes the mean of that, which is the map of the mean.
"""

# B rows, T positions of the longest one, P positions of all, W width, I width of an item, V items

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from updater.encoders.config import EncoderConfig
from updater.encoders.encoder import BLOCKS
from updater.fidelity.uqabench.config import UqaConfig
from updater.fidelity.uqabench.files import FEATURES
from updater.fidelity.uqabench.sequences import Sequences

TABLE_STD = 0.02


class SequenceEncoder(nn.Module):
    """Tables of embeddings, blocks, and a head whose weights are those of the table of items."""

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
        sizes = EncoderConfig(
            architecture=config.encoder,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            max_events=config.max_events,
        )
        self.blocks = BLOCKS[config.encoder](sizes)
        self.norm = nn.LayerNorm(config.width)
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
        longest = int(sequences.lengths_B.max(initial=1)) or 1
        padded_BTW = position_PW.new_zeros(len(sequences.lengths_B), longest, position_PW.shape[1])
        # Padded on the right, behind all that a state knows.
        padded_BTW = padded_BTW.index_put((row_P, place_P), position_PW)
        # The files have no times: all events are at the same second.
        seconds_BT = torch.zeros(padded_BTW.shape[:2], dtype=torch.long, device=self.device)
        states_PW: Tensor = self.norm(self.blocks(padded_BTW, seconds_BT)[row_P, place_P])
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
