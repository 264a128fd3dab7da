"""Partial whitening: the head is followed by the map that it should be, and nothing else changes."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from tests.model_factories import QUERIES, make_batch, make_model
from tests.training_data import make_options, make_table
from updater.model.event_adapter import StraightAdapter
from updater.model.user_model import UserModel
from updater.training.pairs import pairs_of_step, users_of_step
from updater.training.towers import Towers
from updater.training.whitening import LEAST_VARIANCE, STEPS, half_whiten

OPTIONS = make_options()


def lopsided_model() -> UserModel:
    """One output of the head says nearly all, as after pre-training."""
    model = make_model()
    with torch.no_grad():
        model.head.straight.weight[0] *= 30
    return model.eval()


@torch.no_grad()
def trained_on(model: UserModel) -> np.ndarray:
    """Embeddings of the users and questions that directions are taken from, (N, E)."""
    table = make_table(model, OPTIONS)
    towers = Towers(model, table.vocabulary)
    rows = []
    for step in range(OPTIONS.steps, OPTIONS.steps + STEPS):
        batch, pairs = pairs_of_step(table, users_of_step(table, OPTIONS, step), OPTIONS, step)
        rows.append(towers(batch, pairs).anchors_NE.double().numpy())
    return np.concatenate(rows)


@torch.no_grad()
def test_a_map_is_folded_into_an_adapter() -> None:
    torch.manual_seed(3)
    adapter, x, map_OO = StraightAdapter(4, 7, 3, nn.GELU()), torch.randn(5, 4), torch.randn(3, 3)
    before = adapter(x)
    adapter.follow_by(map_OO)
    torch.testing.assert_close(adapter(x), before @ map_OO.T)


def test_embeddings_are_mapped_by_the_fourth_root_of_their_inverse_covariance() -> None:
    model = lopsided_model()
    batch = make_batch(model.config)
    before, seen = model.embed(batch, QUERIES), trained_on(model)
    half_whiten(model, make_table(model, OPTIONS), OPTIONS)
    variances, axes = np.linalg.eigh(np.cov(seen.T, bias=True))
    variances = np.maximum(variances, LEAST_VARIANCE * variances.sum())
    mapped = torch.from_numpy(before @ (axes * variances**-0.25) @ axes.T)
    np.testing.assert_allclose(model.embed(batch, QUERIES), normalize(mapped, dim=-1).numpy(), atol=2e-5)


def test_no_direction_drowns_the_others() -> None:
    model = lopsided_model()
    seen = trained_on(model)
    half_whiten(model, make_table(model, OPTIONS), OPTIONS)
    before, after = (np.linalg.eigvalsh(np.cov(rows.T)) for rows in (seen, trained_on(model)))
    directions = [variances.sum() ** 2 / np.square(variances).sum() for variances in (before, after)]
    assert directions[1] > 1.5 * directions[0], directions


def test_only_the_head_changes_and_twice_gives_the_same_bytes() -> None:
    first, again, untouched = lopsided_model(), lopsided_model(), lopsided_model()
    for model in (first, again):
        half_whiten(model, make_table(model, OPTIONS), OPTIONS)
    states = [model.state_dict() for model in (first, again, untouched)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
        changed = name in ("head.straight.weight", "head.down.weight", "head.down.bias")
        assert torch.equal(value, states[2][name]) != changed, name
