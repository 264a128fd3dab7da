"""Pre-training: a rule that the log follows is learned, by the same steps each time, from those it may learn from."""

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tests.encoder_logs import ANCHOR, NUM_ITEMS, SIZES, make_log, make_sequences
from updater.domain.buckets import is_held_out, is_validation
from updater.encoders.config import ENCODERS, EncoderConfig, Pretraining
from updater.encoders.log import Log
from updater.encoders.pretrain import pretrain
from updater.encoders.recall import encoder_recall, newest_recall, popularity_recall
from updater.encoders.sequences import FIRST, OTHER
from updater.encoders.vectors import user_vectors
from updater.errors import NotLandedError


@pytest.fixture(scope="module")
def log():
    return make_log()


def small(architecture, **changes):
    return EncoderConfig(
        architecture=architecture, **{"width": 16, "layers": 1, "state_size": 4, "max_events": 24, **changes}
    )


def held_out(log):
    return np.flatnonzero([is_held_out(user) for user in log.at[ANCHOR].users.tolist()])


@pytest.mark.parametrize("architecture", ENCODERS)
def test_what_follows_from_the_last_item_is_learned(architecture, log):
    found = pretrain(log, small(architecture), Pretraining(steps=120, learning_rate=2e-2, validate_every=60))
    sequences, users = log.at[ANCHOR], held_out(log)
    recall = encoder_recall(found.encoder, sequences, users)
    assert popularity_recall(sequences, users, 24) < 0.35
    assert newest_recall(sequences, users, 24) == 0.0
    assert recall > 0.9, recall
    assert found.recall > 0.9


@pytest.mark.parametrize("architecture", ENCODERS)
def test_a_seed_gives_the_same_vectors_to_the_bit_and_another_one_others(architecture, log):
    def vectors(seed):
        made = pretrain(log, small(architecture), Pretraining(steps=4, validate_every=2, seed=seed))
        return user_vectors(made.encoder, log.at[ANCHOR])

    before = torch.get_rng_state()
    first = vectors(7)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    np.testing.assert_array_equal(first, vectors(7))
    assert not np.array_equal(first, vectors(8))


def test_nothing_is_learned_from_users_who_are_held_out_or_validate(log):
    sequences = log.at[ANCHOR]
    hidden = np.array([is_held_out(user) for user in sequences.users.tolist()])
    validates = np.array([is_validation(user) for user in sequences.users.tolist()]) & ~hidden
    assert hidden.any() and validates.any()

    def weights(changed):
        rows = np.repeat(changed, sequences.num_events_U)
        other = dataclasses.replace(sequences, items_N=np.where(rows, FIRST, sequences.items_N))
        options = Pretraining(steps=3, validate_every=3)
        made = pretrain(dataclasses.replace(log, at={ANCHOR: other}), small("gru4rec"), options)
        return made.encoder.state_dict()["events.item.weight"]

    unchanged = weights(np.zeros(len(hidden), bool))
    assert torch.equal(unchanged, weights(hidden)) and torch.equal(unchanged, weights(validates))
    assert not torch.equal(unchanged, weights(~hidden & ~validates))


def test_it_ends_without_progress_and_keeps_the_best_weights(log):
    # Steps this wild destroy what the first ones learn.
    options = Pretraining(steps=400, learning_rate=0.02, warmup_steps=0, validate_every=20, patience=2)
    found = pretrain(log, small("gru4rec"), options)
    assert found.steps == found.best_step + 40 < 400
    validation = [is_validation(user) and not is_held_out(user) for user in log.at[ANCHOR].users.tolist()]
    assert encoder_recall(found.encoder, log.at[ANCHOR], np.flatnonzero(validation)) == found.recall


def test_seconds_end_it_too(log):
    found = pretrain(log, small("gru4rec"), Pretraining(steps=1000, seconds=0.0))
    assert found.steps == found.best_step == 1


def test_recall_counts_named_items_alone(log):
    sequences = make_sequences([[FIRST, OTHER, FIRST + 20, FIRST + 1], [FIRST], [FIRST + 30, FIRST + 30, FIRST + 30]])
    users = np.arange(3)
    # Asked: 20 and 1 of the first user, 30 twice of the last; 1 is popular, 30 is its user's newest.
    assert popularity_recall(sequences, users, 10) == 1 / 4
    assert newest_recall(sequences, users, 10) == 2 / 4
    encoder = pretrain(log, small("gru4rec"), Pretraining(steps=1)).encoder
    with torch.no_grad():
        encoder.events.item.weight.zero_()
        encoder.bias.copy_(-torch.arange(float(SIZES.items)))
        encoder.bias[OTHER] = 100.0
    # By its biases alone an encoder expects the first items.
    assert encoder_recall(encoder, sequences, users) == 1 / 4
    assert math.isnan(encoder_recall(encoder, sequences, users[1:2]))


def test_with_nobody_to_learn_from_it_says_so():
    sequences = make_sequences([[FIRST]] * 20)
    log = Log({ANCHOR: sequences}, (ANCHOR,), SIZES, np.ones(FIRST + NUM_ITEMS, np.int64))
    with pytest.raises(NotLandedError, match="two stream events at 2024-03-10"):
        pretrain(log, small("sasrec"))
