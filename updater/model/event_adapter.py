"""The adapters from event, modality or user features to the width of the language model."""

from torch import Tensor, nn


class Adapter(nn.Module):
    """LayerNorm, Linear, GELU, Linear (arXiv 2602.14492, section on the hierarchical encoder: MLP(LN(h)))."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, text_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.up = nn.Linear(in_dim, hidden_dim)
        self.activation = nn.GELU()
        self.down = nn.Linear(hidden_dim, out_dim)
        # A handful of numbers beside hundreds of text dimensions would start out unheard.
        nn.init.constant_(self.norm.weight[text_dim:], (text_dim / max(in_dim - text_dim, 1)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, in) to tokens (N, D)."""
        y: Tensor = self.down(self.activation(self.up(self.norm(x))))
        return y


def summary_adapter(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """The same without LayerNorm, for what is standardised already: a norm over all of a user's numbers would take
    out how active the user is (see docs/adr/0015).
    """
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, out_dim))
