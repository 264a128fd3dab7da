"""What an ablation takes away stays away while the rest is trained."""

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from benchmarks.quality.variants import (
    BASE,
    VARIANTS,
    every_other_anchor,
    first_kernel_alone,
    fixed_keys,
    keys_without_modality,
    linear_adapters,
    one_prior,
    without_best,
    without_broad_kernel,
    without_counts,
    without_decays,
    without_length,
    without_question_vector,
    without_taste,
    without_user_token,
)
from tests.dense_training import ANCHORS, make_answers
from tests.model_factories import QUERIES, make_batch, make_model
from updater.model.layers.event_adapter import LinearResidualMLP
from updater.model.layouts.anchored_counts import NUM_NUMBERS
from updater.model.layouts.user_columns import user_columns
from updater.training.dense import loss


def trained(change):
    """An anchored model after two steps towards anything."""
    model = make_model(layout="anchored", backbone="none")
    change(model)
    batch = make_batch(model.config)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-2, weight_decay=0.02)
    for _ in range(2):
        optimizer.zero_grad()
        (model.train_forward(batch, QUERIES) - 1).pow(2).mean().backward()
        optimizer.step()
    return model, batch


def read(model, batch, numbers):
    """What `numbers` of counts make of a user's embeddings."""
    gates = torch.zeros(len(QUERIES), NUM_NUMBERS)
    gates[:, list(numbers)] = 1.0
    users = model.layout.users(batch)
    with torch.no_grad():
        keys = model.layout.counts.question_keys(model.question_vectors(QUERIES))
        return model.layout.counted(model.layout.numbers(users, keys) * gates[0])


@pytest.mark.parametrize(
    ("change", "silent"),
    [
        (without_counts, range(24)),
        (first_kernel_alone, range(8, 24)),
        (without_broad_kernel, range(8)),
        (without_decays, (2, 3, 4, 6, 10, 11, 12, 14, 18, 19, 20, 22)),
    ],
)
def test_numbers_that_are_taken_away_say_nothing(change, silent):
    model, batch = trained(change)
    whole, rest = read(model, batch, range(24)), read(model, batch, set(range(24)) - set(silent))

    assert torch.equal(whole, rest)
    assert not torch.equal(read(trained(lambda _: None)[0], batch, range(24)), whole)


@pytest.mark.parametrize("change", [without_user_token, without_question_vector])
def test_nothing_but_the_counts_differs_between_users_or_questions(change):
    model, batch = trained(change)
    with torch.no_grad():
        rest_BSD = model.layout.uncounted(model.layout.users(batch).user_BD, model.question_vectors(QUERIES))
    dim = 0 if change is without_user_token else 1
    same = rest_BSD.select(dim, 0).unsqueeze(dim).expand_as(rest_BSD)

    assert torch.allclose(rest_BSD, same, atol=1e-6)


def test_keys_stay_and_adapters_stay_linear():
    first = make_model(layout="anchored", backbone="none").layout.counts.text_keys.linear.weight

    assert torch.equal(trained(fixed_keys)[0].layout.counts.text_keys.linear.weight, first)
    assert not torch.equal(trained(linear_adapters)[0].layout.counts.text_keys.linear.weight, first)
    assert not trained(linear_adapters)[0].layout.counts.adapter.down.weight.any()


def test_taste_alone_is_left_out():
    model, batch = trained(without_taste)
    users = model.layout.users(batch)
    columns = torch.from_numpy(user_columns(model.config, batch).astype(np.float32))

    [adapter] = [part for part in model.layout.taste_adapter if isinstance(part, LinearResidualMLP)]
    constant = adapter(torch.zeros(1, adapter.straight.in_features))
    assert torch.allclose(users.user_BD, model.layout.user_adapter(columns) + constant, atol=1e-6)


def test_keys_and_embeddings_without_what_was_taken_away():
    assert trained(lambda _: None)[0].layout.counts.text_keys.modality.weight.any()
    assert not trained(keys_without_modality)[0].layout.counts.text_keys.modality.weight.any()

    model, batch = trained(without_length)
    assert np.abs(model.embed(batch, QUERIES)[..., -1]).max() < 1e-6
    assert trained(lambda _: None)[0].embed(batch, QUERIES)[..., -1].min() > 0.1


def test_tables_with_fewer_anchors_or_nobody_to_validate_by():
    table = make_answers()

    assert not without_best(table).valid
    assert one_prior(table).priors(ANCHORS[0]) is table.priors_QK
    fewer = every_other_anchor(table)
    assert {anchor for anchor, _ in fewer.train} == {ANCHORS[0]}
    assert len(fewer.sizes) == len(fewer.train)
    np.testing.assert_array_equal(fewer.sizes, [row % 7 for _, row in fewer.train])


def test_constants_hold_for_a_block_only():
    before = loss.CROSS_SCALE
    with VARIANTS["without the other questions' answers"].in_force():
        assert loss.CROSS_SCALE == 0.0
    with VARIANTS[BASE].in_force():
        assert before == loss.CROSS_SCALE
