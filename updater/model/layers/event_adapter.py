"""The adapters from event, modality or user features to the width of the language model, and on to embeddings."""

import torch
from torch import Tensor, nn

MLP_INIT_SCALE = 0.1
"""What the MLP of a `LinearResidualMLP` begins with, as a share of PyTorch's initial weights."""


class Adapter(nn.Module):
    """LayerNorm, Linear, GELU, Linear (arXiv 2602.14492, section on the hierarchical encoder: MLP(LN(h)))."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, text_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.up = nn.Linear(in_dim, hidden_dim)
        self.activation = nn.GELU()
        self.down = nn.Linear(hidden_dim, out_dim)
        # A handful of numbers beside hundreds of text dimensions would start out without effect.
        nn.init.constant_(self.norm.weight[text_dim:], (text_dim / max(in_dim - text_dim, 1)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, in) to tokens (N, D)."""
        y: Tensor = self.down(self.activation(self.up(self.norm(x))))
        return y


class LinearResidualMLP(nn.Module):
    """A linear map plus an MLP (Linear, activation, Linear): for what is standardized already.

    The map begins orthogonal, the rest near zero, so that initial weights lose nothing that a linear model could read
    (docs/experiments/standardized-summaries.md). There is no LayerNorm: over all of a user's numbers it would take out
    how active the user is.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.straight = nn.Linear(in_dim, out_dim, bias=False)
        self.up = nn.Linear(in_dim, hidden_dim)
        self.activation = activation
        self.down = nn.Linear(hidden_dim, out_dim)
        nn.init.orthogonal_(self.straight.weight)
        with torch.no_grad():
            self.down.weight.mul_(MLP_INIT_SCALE)
            self.down.bias.mul_(MLP_INIT_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        y: Tensor = self.straight(x) + self.down(self.activation(self.up(x)))
        return y
