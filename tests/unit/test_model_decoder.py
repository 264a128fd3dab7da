"""The packed decoder against plain Hugging Face passes, one per user and query, without a cache."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model_factories import BACKBONES, OTHERS, QUERIES, SUPPORTED, make_batch, make_model
from updater.model.batch import UserBatch
from updater.model.inference import InferenceModel
from updater.model.layers import decoder
from updater.model.layers.decoder import is_supported
from updater.model.user_model import UserModel


def one_pass_per_query(model: UserModel, batch: UserBatch, queries: list[str]) -> np.ndarray:
    """Nothing shared: prefix and one query through the backbone as Hugging Face made it."""
    embeddings = []
    for user in range(batch.num_users):
        alone = batch.select([user])
        prefix = model.prefix_rows(alone).rows_TD
        ends_SD = model.ends(model.layout.users(alone), queries)[0]
        for words, end in zip(model.words(queries, ()), ends_SD, strict=True):
            rows = torch.cat([prefix, words, end[None]])[None]
            states = model.backbone.base_model(inputs_embeds=rows, use_cache=False).last_hidden_state
            embeddings.append(model.head(states[0, -1]))
    return torch.stack(embeddings).view(batch.num_users, len(queries), -1).numpy()


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_embeddings_equal_one_plain_pass_per_query(name: str) -> None:
    model = make_model(name)
    assert is_supported(model.backbone.config) == (name in SUPPORTED)
    batch = make_batch(model.config)

    found = model.embed(batch, QUERIES)

    expected = one_pass_per_query(model, batch, QUERIES)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.abs(expected[0, 0] - expected[1, 0]).max() > 1e-2
    assert np.abs(expected[0, 0] - expected[0, 1]).max() > 1e-2


@pytest.mark.parametrize("rows", [1, 40, 10_000])
@torch.no_grad()
def test_suffixes_in_groups_equal_one_plain_pass_per_query(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "GROUP_ROWS", rows)
    model = make_model()
    batch = make_batch(model.config)
    queries = [f"{query} {more}".strip() for more in ("", "value value", "risk") for query in QUERIES]
    lengths = [len(words) + 1 for words in model.words(queries, ())]
    assert (rows < min(lengths), 2 * max(lengths) < rows < sum(lengths), rows > sum(lengths)).count(True) == 1

    np.testing.assert_allclose(
        model.embed(batch, queries), one_pass_per_query(model, batch, queries), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", [*SUPPORTED, *OTHERS])
def test_bfloat16_products_cost_little_precision(name: str) -> None:
    model, rounded = (make_model(name, precision=precision) for precision in ("float32", "bfloat16"))
    rounded.load_state_dict(model.state_dict())
    batch = make_batch(model.config)
    exact, found = model.embed(batch, QUERIES), rounded.embed(batch, QUERIES)
    loss = 1 - (exact * found).sum(axis=-1)
    # Six users and three questions are further apart than that.
    assert 0 < loss.max() < 2e-3
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", SUPPORTED)
def test_in_bfloat16_too_no_bit_depends_on_the_company(name: str) -> None:
    model = make_model(name, precision="bfloat16")
    batch = make_batch(model.config)
    together = model.embed(batch, QUERIES)
    for user in range(batch.num_users):
        np.testing.assert_array_equal(model.embed(batch.select([user]), QUERIES)[0], together[user])


@pytest.mark.parametrize("name", [*SUPPORTED, *OTHERS])
def test_differentiable_forward_equals_embed(name: str) -> None:
    model = make_model(name)
    batch = make_batch(model.config)

    with torch.no_grad():
        np.testing.assert_allclose(model(batch, QUERIES).numpy(), model.embed(batch, QUERIES), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("qwen2", {"hidden_act": "gelu"}),
        ("qwen2", {"layer_types": ["sliding_attention"] * 3}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
        ("qwen2", {"model_type": "gemma"}),
    ],
)
def test_architectures_that_differ_are_left_to_transformers(name: str, change: dict[str, object]) -> None:
    config = make_model(name).backbone.config
    assert is_supported(config)
    for key, value in change.items():
        if key == "model_type":
            type(config).model_type, old = value, type(config).model_type
            assert not is_supported(config)
            type(config).model_type = old
        else:
            setattr(config, key, value)
            assert not is_supported(config)


def test_rows_given_to_the_decoder_are_not_changed() -> None:
    model = make_model()
    model.embed(make_batch(model.config), QUERIES)
    decoder = InferenceModel(model)._serving._decoder
    assert decoder is not None
    rows: Tensor = torch.randn(256, 32)
    before = rows.clone()
    with torch.inference_mode():
        decoder(rows, np.array([100, 146]), [5])
    assert torch.equal(rows, before)
