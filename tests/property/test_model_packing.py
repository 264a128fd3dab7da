"""Whatever the users, their embeddings and answers do not depend on who is computed with them."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model_factories import QUERIES, make_batch, make_model, with_answers
from updater.model.inference import InferenceModel

MODELS = {
    "qwen2": make_model("qwen2"),
    "llama": make_model("llama"),
    "paper": make_model("qwen2", layout="paper"),
    "none": make_model(backbone="none"),
}
ANSWERING = {name: with_answers(MODELS[name]) for name in ("qwen2", "llama", "none")}


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(MODELS)),
    seed=st.integers(0, 10_000),
    num_users=st.integers(1, 40),
    empty=st.sampled_from([0.0, 0.3, 0.9]),
    tokens_per_pack=st.sampled_from([1, 100, 700, 5000]),
    data=st.data(),
)
def test_any_company_gives_the_same_bits(
    name: str, seed: int, num_users: int, empty: float, tokens_per_pack: int, data: st.DataObject
) -> None:
    model = MODELS[name]
    batch = make_batch(model.config, seed, num_users, empty)
    expected = model.embed(batch, QUERIES)

    chosen = data.draw(st.lists(st.integers(0, num_users - 1), min_size=1, max_size=2 * num_users))
    found = model.embed(batch.select(chosen), QUERIES, tokens_per_pack=tokens_per_pack)

    np.testing.assert_array_equal(found, expected[chosen])


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(ANSWERING)),
    seed=st.integers(0, 10_000),
    num_users=st.integers(1, 80),
    tokens_per_pack=st.sampled_from([1, 700, 5000]),
    data=st.data(),
)
def test_any_company_gives_the_same_answers_beside_the_same_embeddings(
    name: str, seed: int, num_users: int, tokens_per_pack: int, data: st.DataObject
) -> None:
    model = InferenceModel(ANSWERING[name])
    batch = make_batch(model.config, seed, num_users)
    embeddings, answers = model.embed_and_answer(batch, QUERIES)
    assert embeddings.tobytes() == model.embed(batch, QUERIES).tobytes()

    chosen = data.draw(st.lists(st.integers(0, num_users - 1), min_size=1, max_size=2 * num_users))
    found = model.embed_and_answer(batch.select(chosen), QUERIES, tokens_per_pack=tokens_per_pack)

    np.testing.assert_array_equal(found[0], embeddings[chosen])
    np.testing.assert_array_equal(found[1], answers[chosen])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), empty=st.sampled_from([0.0, 0.3, 0.9]), name=st.sampled_from(sorted(MODELS)))
def test_packed_pass_equals_the_plain_one(seed: int, empty: float, name: str) -> None:
    model = MODELS[name]
    batch = make_batch(model.config, seed, 4, empty)
    with torch.no_grad():
        np.testing.assert_allclose(model.embed(batch, QUERIES), model(batch, QUERIES).numpy(), rtol=0, atol=1e-5)
