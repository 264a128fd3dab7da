"""The adapters from event, modality or user features to the width of the language model, and on to embeddings."""

import torch
from torch import Tensor, nn

FIRST_BEND = 0.1
"""What the part of a `StraightAdapter` that is not linear begins with, as a share of PyTorch's initial weights."""

FIRST_GATE = 0.3
"""Deviation of a gate's argument with initial weights: enough for a soft prompt to find something to turn."""


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


class StraightAdapter(nn.Module):
    """A linear map and, beside it, Linear, activation, Linear: for what is standardized already.

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
            self.down.weight.mul_(FIRST_BEND)
            self.down.bias.mul_(FIRST_BEND)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        y: Tensor = self.straight(x) + self.down(self.activation(self.up(x)))
        return y

    @torch.no_grad()
    def follow_by(self, map_OO: Tensor) -> None:
        """Fold a linear map of the outputs, (out, out), into the weights."""
        for parameter in (self.straight.weight, self.down.weight, self.down.bias):
            parameter.copy_(map_OO.to(parameter.device) @ parameter.to(map_OO.dtype))


class QuestionGate(nn.Module):
    """How much a question makes of each of a user's columns, 0 to 2: from the mean of its tokens, soft prompt included.

    LayerNorm, Linear, a logistic curve. It begins near 1: what to turn up and what to leave out is learned.
    """

    def __init__(self, width: int, num_columns: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.linear = nn.Linear(width, num_columns)
        nn.init.normal_(self.linear.weight, std=FIRST_GATE / width**0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, means: Tensor) -> Tensor:
        """Mean input embeddings of suffixes (…, D) to gates (…, S)."""
        return 2.0 * torch.sigmoid(self.linear(self.norm(means)))
