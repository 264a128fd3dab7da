"""Training's pass over all users at once, against one pass per user."""

import numpy as np
import pytest
import torch

from tests.model_factories import BACKBONES, QUERIES, make_batch, make_model


@pytest.mark.parametrize("layout", ["anchored", "paper"])
@pytest.mark.parametrize("name", BACKBONES)
def test_values_and_gradients_equal_those_of_one_pass_per_user(name: str, layout: str) -> None:
    model = make_model(name, layout=layout)
    batch = make_batch(model.config, num_users=6)
    gradients = []
    together = torch.nn.functional.normalize(model.train_forward(batch, QUERIES), dim=-1)
    alone = model(batch, QUERIES)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    target = torch.randn(alone.shape)
    for values in (together, alone):
        model.zero_grad()
        (values * target).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for parameter, gradient in gradients[1].items():
        scale = max(float(gradient.abs().max()), 1.0)
        torch.testing.assert_close(gradients[0][parameter], gradient, rtol=0, atol=2e-4 * scale, msg=parameter)


def test_dropout_is_for_training_alone() -> None:
    model = make_model()
    for layer in model.backbone.model.layers:
        layer.self_attn.attention_dropout = 0.5
    batch = make_batch(model.config)
    with torch.no_grad():
        first, second = (model.train_forward(batch, QUERIES).numpy() for _ in range(2))
        np.testing.assert_array_equal(first, second)
        model.train()
        first, second = (model.train_forward(batch, QUERIES).numpy() for _ in range(2))
        assert np.abs(first - second).max() > 1e-3
