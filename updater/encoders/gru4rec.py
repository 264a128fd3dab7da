"""GRU4Rec (arXiv 1511.06939, section 3.1): gated recurrent units over a user's events."""

from torch import Tensor, nn

from updater.encoders.config import EncoderConfig


class Gru4Rec(nn.Module):
    """Layers of GRUs; between them dropout."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        between = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(config.width, config.width, config.layers, batch_first=True, dropout=between)

    def forward(self, events_BLW: Tensor, seconds_BL: Tensor) -> Tensor:
        """States, shape (B, L, W); times are not used."""
        states_BLW: Tensor = self.gru(events_BLW)[0]
        return states_BLW
