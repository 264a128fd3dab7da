"""What a summary is made of before the adapters: a few directions of its mean text vector, and its numbers."""

# N users, T text_dim, K components, F numeric columns and statistics

import torch
from torch import Tensor, nn

from updater.model.config import ModalityConfig, ModelConfig
from updater.model.features import summary_dim
from updater.model.principal_axes import principal_axes

LARGEST = 4.0
"""Standard deviations beyond which a value counts no more: means of a single event lie far out."""
LEAST_VARIANCE = 0.03
"""Directions with less variance than this share of the first one's are noise, and are left out."""
LEAST_DEVIATION = 0.05
"""Numbers that vary by less are not blown up any further."""


def projected_dim(config: ModelConfig, modality: ModalityConfig) -> int:
    """Width K + F + 1 of what a modality's summary is projected to."""
    numbers = summary_dim(config, modality) - config.text_dim
    return min(config.summary_components, config.text_dim) + numbers + 1


class SummaryProjection(nn.Module):
    """A linear map from summary features (N, T + F) to (N, K + F + 1), whose last column is 1, then clipped.

    Users' mean text vectors have most of their length in common, and what tells users apart lies in directions of
    little variance. `fit` turns those directions into columns of variance 1; before that, the directions are random.
    """

    def __init__(self, config: ModelConfig, modality: ModalityConfig) -> None:
        super().__init__()
        self._text_dim = config.text_dim
        self._components = min(config.summary_components, config.text_dim)
        numbers = summary_dim(config, modality) - config.text_dim
        self.linear = nn.Linear(config.text_dim + numbers, projected_dim(config, modality))
        directions_KT = torch.empty(self._components, config.text_dim)
        nn.init.orthogonal_(directions_KT)
        self._fill(directions_KT, torch.ones(numbers), torch.zeros(config.text_dim + numbers))

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, T + F) to (N, K + F + 1)."""
        y: Tensor = self.linear(x)
        return y.clamp(-LARGEST, LARGEST)

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Take the directions from the features of many users, (N, T + F): their principal components, of variance 1.

        Nothing changes with fewer than two users.
        """
        if len(features) < 2:
            return
        x = features.double()
        mean = x.mean(dim=0)
        x = x - mean
        text, numbers = x[:, : self._text_dim], x[:, self._text_dim :]
        squares, axes = principal_axes(text, self._components)
        variances = squares / len(text)
        kept = variances > LEAST_VARIANCE * variances[0].clamp(min=1e-9)
        scales = torch.where(kept, variances.clamp(min=1e-12).rsqrt(), 0.0)
        deviations = numbers.std(dim=0, correction=0)
        self._fill((axes * scales).T, 1 / deviations.clamp(min=LEAST_DEVIATION), mean)

    @torch.no_grad()
    def _fill(self, directions_KT: Tensor, scales_F: Tensor, mean: Tensor) -> None:
        weight = torch.zeros_like(self.linear.weight, dtype=directions_KT.dtype)
        weight[: self._components, : self._text_dim] = directions_KT
        weight[self._components : -1, self._text_dim :] = torch.diag(scales_F)
        bias = -(weight @ mean.to(weight.dtype))
        bias[-1] = 1.0
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)
