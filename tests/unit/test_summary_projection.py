"""What summaries are made of: fitted directions have variance 1, and nothing far out counts for more than it should."""

import dataclasses

import numpy as np
import torch

from tests.model_factories import make_batch, make_config, make_model
from updater.model.batch import UserBatch
from updater.model.summary_projection import LARGEST, LEAST_DEVIATION, SummaryProjection, projected_dim

CONFIG = make_config(summary_components=5)
BILL = CONFIG.modalities[0]
NUM_USERS = 400


def bill_features() -> torch.Tensor:
    batch = make_batch(CONFIG, num_users=NUM_USERS, empty=0.0)
    with torch.no_grad():
        features, present = make_model(summary_components=5).prefix.features(batch)[0]
    assert present.all()
    return torch.from_numpy(features)


@torch.no_grad()
def test_fitted_columns_are_standardized_and_the_last_is_one() -> None:
    projection, x = SummaryProjection(CONFIG, BILL), bill_features()
    projection.fit(x)
    raw = projection.linear(x)
    assert raw.shape == (NUM_USERS, projected_dim(CONFIG, BILL)) == (NUM_USERS, 5 + 2 + 6 + 6 + 1)
    torch.testing.assert_close(raw[:, :-1].mean(0), torch.zeros(19), rtol=0, atol=1e-4)
    deviations = torch.cat(
        [torch.ones(5), (x[:, CONFIG.text_dim :].std(0, correction=0) / LEAST_DEVIATION).clamp(max=1)]
    )
    torch.testing.assert_close(raw[:, :-1].std(0, correction=0), deviations, rtol=0, atol=1e-3)
    torch.testing.assert_close(raw[:, -1], torch.ones(NUM_USERS))


@torch.no_grad()
def test_text_columns_are_the_principal_components() -> None:
    projection, x = SummaryProjection(CONFIG, BILL), bill_features()
    projection.fit(x)
    columns = projection.linear(x)[:, :5].numpy()
    text = x[:, : CONFIG.text_dim].double().numpy()
    left, _, _ = np.linalg.svd(text - text.mean(0), full_matrices=False)
    # Up to their signs.
    alike = np.abs(columns.T @ left[:, :5]) / np.sqrt(NUM_USERS)
    np.testing.assert_allclose(alike, np.eye(5), atol=2e-3)


@torch.no_grad()
def test_values_far_out_are_clipped() -> None:
    projection, x = SummaryProjection(CONFIG, BILL), bill_features()
    projection.fit(x)
    far = projection(x[:1] * 1e6)
    assert far.abs().max() == LARGEST


@torch.no_grad()
def test_directions_without_variance_are_left_out() -> None:
    projection, x = SummaryProjection(CONFIG, BILL), bill_features()
    x[:, : CONFIG.text_dim] = x[:1, : CONFIG.text_dim]
    projection.fit(x)
    assert not projection.linear(x)[:, :5].abs().gt(1e-3).any()


def test_one_user_teaches_no_direction() -> None:
    projection = SummaryProjection(CONFIG, BILL)
    before = projection.linear.weight.clone()
    projection.fit(bill_features()[:1])
    torch.testing.assert_close(projection.linear.weight, before)


@torch.no_grad()
def test_the_head_hears_how_much_a_user_did() -> None:
    """Two users with the same mean vectors and ten times the events do not have the same embedding."""
    model = make_model()
    batch = make_batch(model.config, num_users=1, empty=0.0)
    embedding = model.embed(batch, ["value"])
    more = [
        dataclasses.replace(
            part,
            num_events_B=10 * part.num_events_B,
            text_rows_A=np.tile(part.text_rows_A, 10),
            text_offsets_B1=10 * part.text_offsets_B1,
        )
        for part in batch.modalities
    ]
    assert np.abs(model.embed(UserBatch(tuple(more)), ["value"]) - embedding).max() > 1e-3
