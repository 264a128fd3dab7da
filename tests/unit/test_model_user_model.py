"""What an embedding may depend on, and what it may not."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.model_factories import DAY, QUERIES, make_batch, make_config, make_model, make_tokenizer, no_events
from updater.errors import ConfigError
from updater.model.batch import UserBatch
from updater.model.loading import empty_backbone
from updater.model.user_model import InferenceModel, UserModel

MODEL = make_model()
BATCH = make_batch(MODEL.config, num_users=9)


def change_user(batch: UserBatch, user: int) -> UserBatch:
    """The same users, one of them with other events."""
    parts = []
    for part in batch.modalities:
        vectors, means = part.vectors_NV.copy(), part.mean_BV.copy()
        vectors[part.offsets_B1[user] : part.offsets_B1[user + 1]] += 1
        means[user] += 1
        parts.append(dataclasses.replace(part, vectors_NV=vectors, mean_BV=means))
    return UserBatch(tuple(parts))


def test_embeddings_have_length_one() -> None:
    embeddings = MODEL.embed(BATCH, QUERIES)
    assert embeddings.shape == (9, len(QUERIES), 16)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=2), 1, rtol=1e-6)


@pytest.mark.parametrize("tokens_per_pack", [1, 150, 100_000])
def test_packing_does_not_change_a_bit(tokens_per_pack: int) -> None:
    expected = MODEL.embed(BATCH, QUERIES)
    np.testing.assert_array_equal(MODEL.embed(BATCH, QUERIES, tokens_per_pack=tokens_per_pack), expected)


def test_another_users_events_do_not_change_a_bit() -> None:
    before, after = MODEL.embed(BATCH, QUERIES), MODEL.embed(change_user(BATCH, 4), QUERIES)
    others = [user for user in range(9) if user != 4]
    np.testing.assert_array_equal(before[others], after[others])
    assert np.abs(before[4] - after[4]).max() > 1e-2


def test_another_query_of_the_same_length_does_not_change_a_bit() -> None:
    before = MODEL.embed(BATCH, QUERIES)
    after = MODEL.embed(BATCH, [QUERIES[0], "active", QUERIES[2]])
    np.testing.assert_array_equal(before[:, [0, 2]], after[:, [0, 2]])
    assert np.abs(before[:, 1] - after[:, 1]).max() > 1e-2


def test_order_and_number_of_queries_do_not_matter() -> None:
    together = MODEL.embed(BATCH, QUERIES)
    np.testing.assert_allclose(MODEL.embed(BATCH, QUERIES[::-1])[:, ::-1], together, rtol=0, atol=1e-5)
    for i, query in enumerate(QUERIES):
        np.testing.assert_allclose(MODEL.embed(BATCH, [query])[:, 0], together[:, i], rtol=0, atol=1e-5)


def test_every_event_matters() -> None:
    before = MODEL.embed(BATCH, QUERIES)
    for m, part in enumerate(BATCH.modalities):
        for event in range(len(part.times_N)):
            vectors = part.vectors_NV.copy()
            vectors[event] += 1
            changed = dataclasses.replace(part, vectors_NV=vectors)
            after = MODEL.embed(UserBatch((*BATCH.modalities[:m], changed, *BATCH.modalities[m + 1 :])), QUERIES)
            owner = np.searchsorted(part.offsets_B1, event, side="right") - 1
            assert np.abs(after - before).max(axis=(1, 2)).argmax() == owner
            assert np.abs(after - before)[owner].max() > 1e-4


def test_user_without_events_has_a_finite_embedding() -> None:
    embedding = MODEL.embed(no_events(MODEL.config), QUERIES)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=2), 1, rtol=1e-6)


def test_prefix_lengths_count_instruction_user_summaries_markers_and_events() -> None:
    lengths = MODEL.prefix_lengths(BATCH)
    counts = np.stack([np.diff(part.offsets_B1) for part in BATCH.modalities])
    np.testing.assert_array_equal(lengths, 5 + 1 + 3 + (counts > 0).sum(0) + counts.sum(0))
    assert MODEL.prefix_lengths(no_events(MODEL.config)) == [5 + 1 + 3]


def test_soft_prompt_changes_its_scenario_only() -> None:
    model = make_model()
    before = model.embed(BATCH, QUERIES[:2], ["lapse", "brand"])
    model.soft_prompts["lapse"] = torch.nn.Parameter(torch.randn(6, 32))
    after = model.embed(BATCH, QUERIES[:2], ["lapse", "brand"])
    assert np.abs(before[:, 0] - after[:, 0]).max() > 1e-3
    np.testing.assert_allclose(before[:, 1], after[:, 1], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(model.embed(BATCH, QUERIES[:2]), before)


def test_an_inference_model_keeps_the_weights_that_it_was_made_with() -> None:
    model = make_model()
    inference = InferenceModel(model)
    before = inference.embed(BATCH, QUERIES)
    np.testing.assert_array_equal(before, model.embed(BATCH, QUERIES))
    with torch.no_grad():
        model.backbone.model.layers[0].mlp.down_proj.weight.mul_(1.5)
    np.testing.assert_array_equal(inference.embed(BATCH, QUERIES), before)
    assert np.abs(InferenceModel(model).embed(BATCH, QUERIES) - before).max() > 1e-3


def test_changed_weights_are_served() -> None:
    model = make_model()
    before = model.embed(BATCH, QUERIES)
    with torch.no_grad():
        model.backbone.model.layers[0].mlp.down_proj.weight.mul_(1.5)
    after = model.embed(BATCH, QUERIES)
    assert np.abs(before - after).max() > 1e-3
    with torch.no_grad():
        np.testing.assert_allclose(model(BATCH, QUERIES).numpy(), after, rtol=0, atol=1e-5)


def test_every_parameter_learns() -> None:
    model = make_model()
    model.soft_prompts["lapse"] = torch.nn.Parameter(torch.randn(6, 32))
    batch = make_batch(model.config, num_users=9)
    no_event = no_events(model.config)
    target = torch.randn(16)
    ((model(batch, QUERIES, ["lapse"]) @ target).sum() + (model(no_event, QUERIES) @ target).sum()).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The modality with max_events = 0 has no event tokens to learn from.
    assert all(name.startswith("prefix.event_adapters.2.") for name in silent), silent


def test_bytes_of_a_repeated_call_are_equal() -> None:
    assert MODEL.embed(BATCH, QUERIES).tobytes() == MODEL.embed(BATCH, QUERIES).tobytes()


def test_no_users_and_no_queries() -> None:
    assert MODEL.embed(BATCH.select([]), QUERIES).shape == (0, 3, 16)
    with pytest.raises(ValueError, match="queries is empty"):
        MODEL.embed(BATCH, [])


def test_moving_all_events_by_whole_weeks_changes_nothing() -> None:
    moved = UserBatch(
        tuple(
            dataclasses.replace(
                part,
                times_N=part.times_N + 28 * DAY,
                first_event_B=part.first_event_B + 28 * DAY * (part.num_events_B > 0),
                last_event_B=part.last_event_B + 28 * DAY * (part.num_events_B > 0),
            )
            for part in BATCH.modalities
        )
    )
    np.testing.assert_allclose(MODEL.embed(moved, QUERIES), MODEL.embed(BATCH, QUERIES), rtol=0, atol=1e-5)


def test_backbone_with_too_few_positions_is_refused() -> None:
    config = make_config()
    config = dataclasses.replace(config, backbone_config={**config.backbone_config, "max_position_embeddings": 20})
    with pytest.raises(ConfigError, match="lower max_events"):
        UserModel(config, empty_backbone(config), make_tokenizer())
