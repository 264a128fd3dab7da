"""What an embedding may depend on, and what it may not."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.model_factories import (
    DAY,
    MODALITIES,
    QUERIES,
    encode,
    make_batch,
    make_config,
    make_model,
    make_tokenizer,
    no_events,
)
from updater.errors import ConfigError
from updater.model.batch import UserBatch
from updater.model.inference import InferenceModel
from updater.model.layouts.anchored_counts import sum_padded
from updater.model.layouts.layout import run_module
from updater.model.loading import empty_backbone
from updater.model.user_model import UserModel

KINDS = {"anchored": {}, "paper": {"layout": "paper"}, "none": {"backbone": "none"}}
MODELS = {name: make_model(**changes) for name, changes in KINDS.items()}
MODEL = MODELS["anchored"]
BATCH = make_batch(MODEL.config, num_users=9)
MODEL.fit([BATCH], QUERIES)
every_kind = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def change_text(batch: UserBatch, modality: int, event: int) -> UserBatch:
    """The same users, one event with a text of its own."""
    part = batch.modalities[modality]
    rows = part.text_rows_A.copy()
    rows[event] = len(part.texts_TX)
    texts = np.concatenate([part.texts_TX, encode(["another"], part.texts_TX.shape[1])])
    changed = dataclasses.replace(part, text_rows_A=rows, texts_TX=texts)
    return UserBatch((*batch.modalities[:modality], changed, *batch.modalities[modality + 1 :]))


@every_kind
def test_embeddings_have_length_one(model: UserModel) -> None:
    embeddings = model.embed(BATCH, QUERIES)
    assert embeddings.shape == (9, len(QUERIES), 16)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=2), 1, rtol=1e-6)


@every_kind
@pytest.mark.parametrize("tokens_per_pack", [1, 150, 100_000])
def test_packing_does_not_change_a_bit(model: UserModel, tokens_per_pack: int) -> None:
    expected = model.embed(BATCH, QUERIES)
    np.testing.assert_array_equal(model.embed(BATCH, QUERIES, tokens_per_pack=tokens_per_pack), expected)


@every_kind
@torch.no_grad()
def test_what_is_served_is_what_is_trained(model: UserModel) -> None:
    served = model.embed(BATCH, QUERIES)
    np.testing.assert_allclose(model(BATCH, QUERIES).numpy(), served, rtol=0, atol=1e-5)
    trained = torch.nn.functional.normalize(model.train_forward(BATCH, QUERIES), dim=-1)
    np.testing.assert_allclose(trained.numpy(), served, rtol=0, atol=1e-5)


@every_kind
def test_every_event_matters_to_its_user_alone(model: UserModel) -> None:
    before = model.embed(BATCH, QUERIES)
    for m, (part, modality) in enumerate(zip(BATCH.modalities, model.config.modalities, strict=True)):
        for event in range(0, len(part.times_A), 7):
            after = model.embed(change_text(BATCH, m, event), QUERIES)
            moved = np.abs(after - before).max(axis=(1, 2))
            owner = part.owners_A[event]
            assert not np.delete(moved, owner).any()
            # Without layers a profile is not read but for its numbers.
            assert moved[owner] > 1e-5 or (model.norm is not None and modality.snapshot)


@every_kind
def test_another_query_of_the_same_length_does_not_change_a_bit(model: UserModel) -> None:
    before = model.embed(BATCH, QUERIES)
    after = model.embed(BATCH, [QUERIES[0], "active", QUERIES[2]])
    np.testing.assert_array_equal(before[:, [0, 2]], after[:, [0, 2]])
    assert np.abs(before[:, 1] - after[:, 1]).max() > 1e-2


@every_kind
def test_order_and_number_of_queries_do_not_matter(model: UserModel) -> None:
    together = model.embed(BATCH, QUERIES)
    np.testing.assert_allclose(model.embed(BATCH, QUERIES[::-1])[:, ::-1], together, rtol=0, atol=1e-5)
    for i, query in enumerate(QUERIES):
        np.testing.assert_allclose(model.embed(BATCH, [query])[:, 0], together[:, i], rtol=0, atol=1e-5)


@every_kind
def test_user_without_events_has_a_finite_embedding(model: UserModel) -> None:
    embedding = model.embed(no_events(model.config), QUERIES)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=2), 1, rtol=1e-6)


def test_prefix_lengths_of_the_paper_count_instruction_user_summaries_markers_and_events() -> None:
    model = MODELS["paper"]
    counts = [np.minimum(p.counts_B, m.max_events) for p, m in zip(BATCH.modalities, MODALITIES, strict=True)]
    expected = 5 + 1 + 3 + sum((each > 0) + each for each in counts)
    np.testing.assert_array_equal(model.prefix_lengths(BATCH), expected)
    assert model.prefix_lengths(no_events(model.config)) == [5 + 1 + 3]


def test_prefix_lengths_count_user_profile_and_distinct_texts() -> None:
    for user in range(BATCH.num_users):
        rows = [slice(*part.offsets_B1[user : user + 2]) for part in BATCH.modalities[:2]]
        texts = sum(len(set(p.text_rows_A[own])) for p, own in zip(BATCH.modalities[:2], rows, strict=True))
        assert MODEL.prefix_lengths(BATCH)[user] == 1 + 1 + min(texts, MODEL.config.max_texts)


def test_soft_prompt_changes_its_scenario_only() -> None:
    model = make_model()
    before = model.embed(BATCH, QUERIES[:2], ["lapse", "brand"])
    model.soft_prompts["lapse"] = torch.nn.Parameter(torch.randn(6, 32))
    after = model.embed(BATCH, QUERIES[:2], ["lapse", "brand"])
    assert np.abs(before[:, 0] - after[:, 0]).max() > 1e-3
    np.testing.assert_allclose(before[:, 1], after[:, 1], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(model.embed(BATCH, QUERIES[:2]), before)


def test_a_shift_moves_the_question_of_its_scenario_only() -> None:
    model = make_model(backbone="none")
    before = model.embed(BATCH, QUERIES[:2], ["lapse", "brand"])
    keys = model.layout.counts.question_keys(model.question_vectors(QUERIES[:2]))
    model.question_shifts["lapse"] = torch.nn.Parameter((keys[1] - keys[0]).detach())
    users = model.layout.users(BATCH)
    shifts = [model.question_shifts["lapse"], None]
    moved = model.layout.ends(users, model.question_vectors(QUERIES[:2]), shifts, run_module, sum_padded)
    own = model.layout.question_linear(model.question_vectors(QUERIES[:2]))
    # Moved to the other's key, a question counts what the other does.
    torch.testing.assert_close(moved[:, 0] - own[0], moved[:, 1] - own[1])
    after = model.embed(BATCH, QUERIES[:2], ["lapse", "brand"])
    assert np.abs(before[:, 0] - after[:, 0]).max() > 1e-3
    np.testing.assert_array_equal(before[:, 1], after[:, 1])


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


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind: str) -> None:
    model = make_model(**KINDS[kind])
    model.soft_prompts["lapse"] = torch.nn.Parameter(torch.randn(6, 32))
    batch = make_batch(model.config, num_users=9)
    no_event = no_events(model.config)
    target = torch.randn(16)
    ((model(batch, QUERIES, ["lapse"]) @ target).sum() + (model(no_event, QUERIES) @ target).sum()).backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # Of the paper's layout the modality with max_events = 0 has no event tokens to learn from.
    expected = {name for name in silent if name.startswith("layout.event_adapters.2.")}
    if kind == "none":
        tokens = ("text_linear.", "statistics_adapter.", "profile_linear.", "modality_MD", "absent_MD")
        expected = {name for name in silent if name.removeprefix("layout.").startswith(tokens)} | {"soft_prompts.lapse"}
    assert silent == expected, silent - expected


def test_bytes_of_a_repeated_call_are_equal() -> None:
    assert MODEL.embed(BATCH, QUERIES).tobytes() == MODEL.embed(BATCH, QUERIES).tobytes()


def test_no_users_and_no_queries() -> None:
    assert MODEL.embed(BATCH.select([]), QUERIES).shape == (0, 3, 16)
    with pytest.raises(ValueError, match="queries is empty"):
        MODEL.embed(BATCH, [])


@every_kind
def test_moving_all_events_by_whole_weeks_changes_nothing(model: UserModel) -> None:
    weeks = 28 * DAY
    moved = UserBatch(
        tuple(
            dataclasses.replace(p, times_A=p.times_A + weeks, local_A=p.local_A + (0 if m.snapshot else weeks))
            for p, m in zip(BATCH.modalities, MODALITIES, strict=True)
        )
    )
    np.testing.assert_allclose(model.embed(moved, QUERIES), model.embed(BATCH, QUERIES), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("layout", "lower"), [("anchored", "model.max_texts"), ("paper", "max_events")])
def test_backbone_with_too_few_positions_is_refused(layout: str, lower: str) -> None:
    config = make_config(layout=layout)
    config = dataclasses.replace(config, backbone_config={**config.backbone_config, "max_position_embeddings": 12})
    with pytest.raises(ConfigError, match=f"lower {lower}"):
        UserModel(config, empty_backbone(config), make_tokenizer())


def test_the_paper_needs_a_language_model() -> None:
    with pytest.raises(ConfigError, match=r"needs a language model; set model\.backbone"):
        make_model(layout="paper", backbone="none")
