"""Adapters: what is standardized passes straight, and initial weights keep its geometry."""

import torch
from torch import nn

from updater.model.layers.event_adapter import MLP_INIT_SCALE, LinearResidualMLP
from updater.model.user_model import EmbeddingHead


@torch.no_grad()
def test_first_weights_are_nearly_an_orthogonal_map() -> None:
    torch.manual_seed(3)
    adapter = LinearResidualMLP(6, 12, 6, nn.GELU())
    x = torch.randn(50, 6)
    straight = adapter.straight(x)
    torch.testing.assert_close(straight @ straight.T, x @ x.T, atol=1e-4, rtol=1e-4)
    bend = adapter(x) - straight
    assert 0 < bend.norm() < MLP_INIT_SCALE * straight.norm()


@torch.no_grad()
def test_the_rest_is_two_layers_beside_it() -> None:
    adapter = LinearResidualMLP(4, 7, 3, nn.GELU())
    x = torch.randn(2, 5, 4)
    plain = adapter.straight(x) + adapter.down(nn.functional.gelu(adapter.up(x)))
    torch.testing.assert_close(adapter(x), plain)
    assert adapter(x).shape == (2, 5, 3)


@torch.no_grad()
def test_embeddings_have_length_one() -> None:
    head = EmbeddingHead(8, 16, 4)
    torch.testing.assert_close(head(torch.randn(3, 2, 8)).norm(dim=-1), torch.ones(3, 2))
