"""Half whitening of the head: what tells few users apart is not drowned by what tells all of them apart."""

from dataclasses import replace

import torch

from updater.domain.training import Training
from updater.model.principal_axes import principal_axes
from updater.model.user_model import UserModel
from updater.training.pairs import PairTable, pairs_of_step, users_of_step
from updater.training.towers import Towers

EXPONENT = 0.5
"""0 leaves the variances as they are, 1 makes all of them equal, noise included."""
LEAST_VARIANCE = 1e-5
"""Directions with less than this share of the whole variance are not turned up any further."""
STEPS = 32
"""Steps' worth of users and questions that the directions are taken from."""


@torch.inference_mode()
def half_whiten(model: UserModel, table: PairTable, options: Training) -> None:
    """Multiply the head by C ** (-EXPONENT / 2), C the covariance of embeddings of users under training's questions.

    After pre-training most of the variance lies along one direction, how active a user is, and a probe needs large
    weights to use the rest (docs/experiments/partial-whitening.md). Because an embedding is normalized last, a linear
    map behind the head is a linear map of its last layer: nothing is added to the model.

    Args:
        model: trained; only its head changes.
        table: the pairs that it was trained on.
        options: the config of training.
    """
    towers = Towers(model, table.vocabulary)
    options = replace(options, facts_per_step=0, predicted_pairs=0)
    rows = []
    for step in range(options.steps, options.steps + STEPS):
        batch, pairs = pairs_of_step(table, users_of_step(table, options, step), options, step)
        rows.append(towers.embed_questions(batch, pairs).double())
    embeddings_NE = torch.cat(rows)
    centred_NE = embeddings_NE - embeddings_NE.mean(dim=0)
    squares_E, axes_EE = principal_axes(centred_NE, centred_NE.shape[1])
    variances_E = squares_E.clamp(min=LEAST_VARIANCE * squares_E.sum()) / len(centred_NE)
    model.head.follow_by((axes_EE * variances_E.pow(-EXPONENT / 2)) @ axes_EE.T)
