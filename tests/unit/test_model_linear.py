"""Matrix products of fixed shapes, whichever library computes them."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.model_factories import QUERIES, make_batch, make_model
from updater.model.inference import ADAPTER_ROWS
from updater.model.layers import linear
from updater.model.layers.decoder import READ_ROWS, ROWS
from updater.model.layers.linear import PackedLinear, in_chunks, pack_linears
from updater.model.sources import PADDED_LENGTHS, TOKENS_PER_FORWARD
from updater.model.text_encoder import load_text_encoder


@pytest.fixture(params=["onednn", "default"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The library of the matrix products: oneDNN where there is one, or torch's default."""
    if request.param == "default":
        monkeypatch.setattr(linear, "_has_onednn", lambda weight: False)
    return str(request.param)


@pytest.mark.parametrize("bias", [True, False])
def test_packed_layer_equals_the_plain_one(kernel: str, bias: bool) -> None:
    plain, x = nn.Linear(40, 24, bias=bias), torch.randn(8, 40)
    packed = PackedLinear(plain.weight, plain.bias, 8)
    assert packed.packed == (kernel == "onednn" and linear._has_onednn(plain.weight))
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), plain(x), rtol=0, atol=1e-6)


def test_packing_a_module_leaves_the_module_alone(kernel: str) -> None:
    module = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12), nn.Sequential(nn.GELU(), nn.Linear(12, 3)))
    x = torch.randn(4, 12)
    packed = pack_linears(module, 4)
    assert [type(m) for m in packed.modules()].count(PackedLinear) == 2
    assert [type(m) for m in module.modules()].count(nn.Linear) == 2
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), module(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_rows", [0, 1, 7, 8, 9, 24])
def test_every_call_has_the_same_number_of_rows(num_rows: int) -> None:
    calls = []

    def layer(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return x[:, :2] + 1

    x = torch.randn(num_rows, 3)
    assert torch.equal(in_chunks(layer, x, 8), x[:, :2] + 1)
    assert set(calls) == {8}


def test_every_product_of_a_model_has_a_fixed_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = set()
    plain = PackedLinear.forward

    def spy(self: PackedLinear, x: torch.Tensor) -> torch.Tensor:
        calls.add(len(x))
        return plain(self, x)

    model = make_model()
    model.questions(QUERIES)  # by the text encoder, which has shapes of its own
    monkeypatch.setattr(PackedLinear, "forward", spy)
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: pytest.fail("a product of some other shape"))
    for num_users in (1, 7, 90):
        model.embed(make_batch(model.config, num_users=num_users), QUERIES)
    assert calls == {ROWS, READ_ROWS, ADAPTER_ROWS}


def test_every_pass_of_the_text_encoder_has_a_fixed_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_text_encoder("minilm")
    shapes, plain = set(), encoder._model

    def spy(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
        shapes.add(tuple(input_ids.shape))
        return plain(input_ids=input_ids, attention_mask=attention_mask)

    monkeypatch.setattr(encoder, "_model", spy)
    for texts in (["milk"], ["milk"] * 70, ["milk", "", "a long text about milk " * 50]):
        encoder.encode(texts)
    assert shapes <= {(max(1, TOKENS_PER_FORWARD // length), length) for length in PADDED_LENGTHS}
    assert len(shapes) > 1


def test_company_does_not_change_a_bit_with_either_library(kernel: str) -> None:
    model = make_model()
    batch = make_batch(model.config, num_users=30)
    expected = model.embed(batch, QUERIES)
    for user in (0, 17, 29):
        np.testing.assert_array_equal(model.embed(batch.select([user]), QUERIES)[0], expected[user])
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_array_equal(model.embed(batch.select(order), QUERIES, tokens_per_pack=900), expected[order])

    encoder = load_text_encoder("minilm")
    texts = [f"product number {i}" for i in range(100)]
    vectors = encoder.encode(texts)
    assert encoder.encode(texts[::-1]).tobytes() == vectors[::-1].tobytes()
    assert encoder.encode(texts[7:8]).tobytes() == vectors[7].tobytes()
