"""The anchored layout: what a question counts, what is fitted, and training's pass for all users at once."""

import numpy as np
import pytest
import torch

from tests.model_factories import QUERIES, make_batch, make_model
from updater.model.layouts.anchored_counts import NUM_KERNELS, Likeness, sum_in_order, sum_padded, summed
from updater.model.layouts.text_statistics import ORDER
from updater.model.text_encoder import load_text_encoder
from updater.model.user_model import UserModel


def anchored(seed: int = 0, **changes: object) -> UserModel:
    """A model of this layout, fitted to a batch."""
    model = make_model(seed=seed, **changes)
    model.fit([make_batch(model.config, seed=9, num_users=12)], QUERIES)
    return model


MODEL = anchored()
BATCH = make_batch(MODEL.config, seed=1, num_users=6)


@pytest.mark.parametrize("layers", [True, False])
def test_training_reads_all_users_at_once_as_it_reads_one(layers: bool) -> None:
    together = MODEL.train_forward(BATCH, QUERIES, layers=layers)
    for user in range(BATCH.num_users):
        for number, query in enumerate(QUERIES):
            alone = MODEL.train_forward(BATCH.select([user]), [query], layers=layers)
            torch.testing.assert_close(alone[0, 0], together[user, number], rtol=0, atol=2e-5)


def test_silent_layers_are_no_layers() -> None:
    model = anchored()
    with torch.no_grad():
        for layer in model.backbone.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    with_layers, without = (model.train_forward(BATCH, QUERIES, layers=layers) for layers in (True, False))
    torch.testing.assert_close(with_layers, without, rtol=0, atol=1e-6)


def test_what_a_question_counts() -> None:
    counts, users = MODEL.layout.counts, MODEL.layout.users(BATCH)
    questions_SX, texts = MODEL.question_vectors(QUERIES), users.texts
    centred_VX = MODEL.layout.text_centring(torch.from_numpy(texts.vectors_VX))
    with torch.no_grad():
        counts.text_keys.modality.weight.normal_()
    ones_VM = torch.eye(len(MODEL.config.modalities))[torch.from_numpy(texts.modality_V)]
    keys = counts.text_keys(torch.cat([centred_VX, ones_VM], dim=1))[torch.from_numpy(texts.row_T)]
    weights = Likeness(counts.kernels, counts.question_keys(questions_SX))(keys)
    x, offsets = torch.from_numpy(summed(texts)), torch.from_numpy(texts.offsets_B1)
    padded, in_order = sum_padded(weights, x, offsets), sum_in_order(weights, x, offsets)
    torch.testing.assert_close(padded, in_order, rtol=1e-5, atol=1e-5)
    numbers = counts.numbers(padded.reshape(len(BATCH.modalities[0].counts_B) * len(QUERIES), -1))
    numbers = numbers.view(BATCH.num_users, len(QUERIES), NUM_KERNELS, 8)
    user, question, kernel = 2, 1, 1
    expected = np.zeros(9)
    for row in range(*texts.offsets_B1[user : user + 2]):
        centred = centred_VX[texts.row_T[row]]
        a = torch.nn.functional.normalize(counts.question_keys.linear(questions_SX[question]), dim=0)
        of_modality = counts.text_keys.modality.weight[:, texts.modality_T[row]]
        b = torch.nn.functional.normalize(counts.text_keys.linear(centred) + of_modality, dim=0)
        sharpness, threshold = counts.kernels.sharpness_J[kernel], counts.kernels.threshold_J[kernel]
        weight = torch.sigmoid(sharpness * (a @ b - threshold)).item()
        days, events, week, weeks, months, age, amount, gap = texts.statistics_TK[row]
        reported = [days, events, week, weeks, months, amount, np.exp(-age / 14), np.log1p(gap), 1.0]
        expected += weight * np.array(reported)
    wanted = [*np.log1p(expected[:6]), 0.3 * np.log(0.001 + expected[6]), expected[7] / (0.5 + expected[8])]
    np.testing.assert_allclose(numbers[user, question, kernel].detach(), wanted, rtol=1e-4)
    torch.testing.assert_close(MODEL.layout.numbers(users, counts.question_keys(questions_SX)), numbers.flatten(2))


def test_taste_is_the_weighted_mean_of_text_vectors() -> None:
    layout, texts = MODEL.layout, MODEL.layout.users(BATCH).texts
    centred_VX = layout.text_centring(torch.from_numpy(texts.vectors_VX)).numpy()
    taste = layout.taste(texts)
    for user in range(BATCH.num_users):
        rows = range(*texts.offsets_B1[user : user + 2])
        weights = [np.log1p(texts.statistics_TK[row, ORDER]) for row in rows]
        total = sum((w * centred_VX[texts.row_T[row]] for w, row in zip(weights, rows, strict=True)), np.zeros(1))
        np.testing.assert_allclose(taste[user], total / (1 + sum(weights)), rtol=1e-4, atol=1e-5)
        alone = layout.taste(texts.select(np.array([user])))[0]
        assert torch.equal(alone, taste[user])
    nobody = BATCH.select([])
    assert layout.taste(layout.users(nobody).texts).shape == (0, MODEL.config.text_dim)


def test_an_embedding_tells_how_long_a_reading_was() -> None:
    states = torch.randn(5, 32)
    readings, embeddings = MODEL.head.read(states), MODEL.head(states)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))
    constant = MODEL.config.embedding_dim**0.5
    assert (readings[:, -1] == constant).all()
    torch.testing.assert_close(embeddings[:, -1], constant / readings.norm(dim=1))
    torch.testing.assert_close(embeddings / embeddings[:, -1:] * constant, readings)


def test_fitting_does_not_depend_on_the_order_of_the_users() -> None:
    batch = make_batch(MODEL.config, seed=4, num_users=8)
    first, second = anchored(), anchored()
    first.fit([batch.select([0, 1, 2]), batch.select([3, 4, 5, 6, 7])], QUERIES)
    second.fit([batch.select([3, 4, 5, 6, 7]), batch.select([0, 1, 2])], QUERIES)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=1e-6, atol=1e-6, msg=name)


def test_what_is_fitted() -> None:
    batch = make_batch(MODEL.config, seed=4, num_users=40)
    model = anchored()
    model.fit([batch], QUERIES)
    columns = model.layout.user_adapter[0](torch.from_numpy(user_columns_of(model, batch)))
    assert columns.mean(dim=0).abs().max() < 0.3  # of clipped values
    questions = load_text_encoder(model.config.text_encoder).encode(QUERIES).astype(np.float32)
    centred = questions - questions.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(model.question_vectors(QUERIES), centred, atol=1e-6)
    texts = model.layout.counts.text_keys.linear.weight
    torch.testing.assert_close(texts @ texts.T, torch.eye(len(texts)), rtol=0, atol=1e-5)


def user_columns_of(model: UserModel, batch: object) -> np.ndarray:
    """The columns before they are standardized."""
    from updater.model.layouts.user_columns import user_columns

    return user_columns(model.config, batch).astype(np.float32)


def test_gradients_reach_every_weight() -> None:
    model = anchored()
    model.train_forward(BATCH, QUERIES).square().mean().backward()
    silent = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    assert not silent, silent
