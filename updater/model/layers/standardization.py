"""Columns brought to mean 0 and deviation 1 among the users that a model is fitted to."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LARGEST = 4.0
"""Deviations beyond which a value counts no more."""
LEAST_DEVIATION = 0.05
"""Columns that vary by less are not blown up any further."""


class Standardization(nn.Module):
    """(…, C) to (…, C); nothing but the clipping until it is fitted."""

    def __init__(self, num_columns: int) -> None:
        super().__init__()
        self.mean_C: Tensor
        self.deviation_C: Tensor
        self.register_buffer("mean_C", torch.zeros(num_columns))
        self.register_buffer("deviation_C", torch.ones(num_columns))

    def forward(self, x: Tensor) -> Tensor:
        """Columns of deviation 1, clipped."""
        y: Tensor = ((x - self.mean_C) / self.deviation_C).clamp(-LARGEST, LARGEST)
        return y

    @torch.no_grad()
    def fit(self, parts: Sequence[Tensor]) -> None:
        """Take mean and deviation from float64 rows (N, C), in parts; nothing changes without any row."""
        rows = torch.cat(list(parts)) if parts else torch.zeros(0)
        if not len(rows):
            return
        self.mean_C.copy_(rows.mean(dim=0))
        self.deviation_C.copy_(rows.std(dim=0, correction=0).clamp(min=LEAST_DEVIATION))


class Centring(nn.Module):
    """Vectors (…, X) less the mean of those that a model is fitted to, at length 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean_X: Tensor
        self.register_buffer("mean_X", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Centred vectors of length 1."""
        return nn.functional.normalize(x - self.mean_X, dim=-1)

    @torch.no_grad()
    def fit(self, vectors_NX: Tensor) -> None:
        """Take the mean; nothing changes without any vector."""
        if len(vectors_NX):
            self.mean_X.copy_(vectors_NX.double().mean(dim=0))
