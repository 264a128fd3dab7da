"""The encoders' blocks: no state knows what comes later or who else is computed, and all say what plain loops say."""

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tests.encoder_logs import make_encoder, make_sequences
from updater.encoders.config import ENCODERS, EncoderConfig
from updater.encoders.hstu import BUCKET_WIDTH, TIME_BUCKETS
from updater.encoders.mamba4rec import SelectiveStateSpace, selective_scan
from updater.encoders.sequences import FIRST
from updater.encoders.vectors import user_vectors
from updater.errors import ConfigError

ITEMS = [[5, 6, 7, 8, 9, 10, 11], [12, 13], [14, 15, 16, 17], list(range(5, 30))]
USERS = np.arange(len(ITEMS))


@pytest.mark.parametrize("architecture", ENCODERS)
def test_a_later_event_changes_no_earlier_state(architecture):
    encoder, sequences = make_encoder(architecture), make_sequences(ITEMS)
    batch = sequences.newest(USERS[:1], 16)
    changed = {
        field.name: getattr(batch, field.name).clone()
        for field in dataclasses.fields(batch)
        if field.name != "lengths_B"
    }
    changed["items_BL"][:, 5:] = 20
    for name in ("numbers_BLC", "texts_BLX", "gaps_BL"):
        changed[name][:, 5:] = 3.0
    changed["seconds_BL"][:, 5:] += 1e6
    with torch.no_grad():
        before, after = encoder(batch), encoder(dataclasses.replace(batch, **changed))
    torch.testing.assert_close(before[:, :5], after[:, :5], rtol=1e-6, atol=1e-6)
    assert (before[:, 5:] - after[:, 5:]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize("architecture", ENCODERS)
def test_a_user_alone_is_as_in_company(architecture):
    encoder, sequences = make_encoder(architecture), make_sequences(ITEMS)
    together = user_vectors(encoder, sequences)
    with torch.no_grad():
        for user in USERS:
            alone = encoder(sequences.newest(USERS[user : user + 1], 16))[0, -1]
            np.testing.assert_allclose(together[user], alone.numpy(), rtol=1e-5, atol=1e-5)
    assert np.ptp(together, axis=0).min() > 0.01


@pytest.mark.parametrize("architecture", ENCODERS)
def test_only_the_newest_events_are_read(architecture):
    encoder = make_encoder(architecture)
    other = [*ITEMS[:3], [40, 41, 42, *ITEMS[3][3:]]]
    vectors, cut = (user_vectors(encoder, make_sequences(items)) for items in (ITEMS, other))
    np.testing.assert_array_equal(vectors, cut)


@pytest.mark.parametrize(("side", "text"), [(False, False), (True, False), (False, True)])
def test_what_is_left_out_has_no_say(side, text):
    encoder, sequences = make_encoder("gru4rec", side=side, text=text), make_sequences(ITEMS)
    vectors = user_vectors(encoder, sequences)
    rng = np.random.default_rng(9)
    of_side = {
        "modalities_N": rng.permutation(sequences.modalities_N),
        "categories_N": rng.permutation(sequences.categories_N),
        "hours_N": rng.permutation(sequences.hours_N),
        "gaps_N": rng.permutation(sequences.gaps_N),
        "numbers_NC": rng.permutation(sequences.numbers_NC),
    }
    others = {name: dataclasses.replace(sequences, **{name: values}) for name, values in of_side.items()}
    for name, other in others.items():
        assert np.array_equal(vectors, user_vectors(encoder, other)) != side, name
    reworded = dataclasses.replace(sequences, texts_TX=rng.permutation(sequences.texts_TX))
    assert np.array_equal(vectors, user_vectors(encoder, reworded)) != text


def test_hstu_is_its_formula():
    encoder, sequences = make_encoder("hstu"), make_sequences(ITEMS)
    batch = sequences.newest(USERS[:1], 16)
    layer, seconds = encoder.blocks.layers[0], batch.seconds_BL[0].tolist()
    with torch.no_grad():
        events = encoder.events(batch)
        encoder.blocks.layers = torch.nn.ModuleList([layer])
        found = encoder.blocks(events, batch.seconds_BL)[0]
        u, v, q, k = torch.nn.functional.silu(layer.uvqk(layer.norm(events[0]))).chunk(4, -1)
        width, heads, length = encoder.config.width, encoder.config.heads, len(seconds)
        read = torch.zeros(length, width)
        for i in range(length):
            for j in range(i + 1):
                bucket = min(int(math.log(max(1.0, seconds[i] - seconds[j])) / BUCKET_WIDTH), TIME_BUCKETS - 1)
                bias = layer.distance[i - j] + layer.time.weight[bucket, 0]
                for head in range(heads):
                    own = slice(head * width // heads, (head + 1) * width // heads)
                    score = (q[i, own] * k[j, own]).sum() + bias
                    read[i, own] += score * torch.sigmoid(score) / encoder.config.max_events * v[j, own]
        expected = events[0] + layer.out(layer.read_norm(read) * u)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_selective_scan_is_its_recurrence():
    torch.manual_seed(0)
    length, channels, size = 9, 3, 4
    values, steps = torch.randn(1, length, channels), torch.rand(1, length, channels)
    rates, inputs, outputs = -torch.rand(channels, size), torch.randn(1, length, size), torch.randn(1, length, size)
    expected = torch.zeros(length, channels)
    for e in range(channels):
        for s in range(size):
            state = 0.0
            for t in range(length):
                step = float(steps[0, t, e])
                kept = math.exp(step * float(rates[e, s]))
                state = kept * state + step * float(inputs[0, t, s]) * float(values[0, t, e])
                expected[t, e] += float(outputs[0, t, s]) * state
    torch.testing.assert_close(selective_scan(values, steps, rates, inputs, outputs)[0], expected)


def test_a_selective_state_space_is_its_formula():
    torch.manual_seed(0)
    space, events = SelectiveStateSpace(16, 3), torch.randn(1, 7, 16)
    with torch.no_grad():
        found = space(events)[0]
        values, gates = space.into(events[0]).chunk(2, -1)
        kernel = space.convolution.weight.shape[-1]
        states = torch.zeros(values.shape[1], 3)
        for t in range(len(values)):
            convolved = space.convolution.bias.clone()
            for back in range(min(kernel, t + 1)):
                convolved += space.convolution.weight[:, 0, kernel - 1 - back] * values[t - back]
            value = convolved * torch.sigmoid(convolved)
            rank, into, out = space.selection(value).split(space.sizes)
            step = torch.log1p(torch.exp(space.step(rank)))
            for s in range(3):
                rate = -torch.exp(space.log_rates_ES[:, s])
                states[:, s] = torch.exp(step * rate) * states[:, s] + step * into[s] * value
            read = (states * out).sum(1) + space.skip_E * value
            expected = space.out(read * gates[t] * torch.sigmoid(gates[t]))
            torch.testing.assert_close(found[t], expected, rtol=1e-5, atol=1e-6)


def test_padding_is_zero_and_each_event_is_in_its_place():
    sequences = make_sequences(ITEMS)
    batch = sequences.batch(np.array([3, 1]), np.array([4, 0]), np.array([5, 2]))
    assert batch.items_BL.tolist() == [ITEMS[3][4:9], [*ITEMS[1], 0, 0, 0]]
    begin = sequences.offsets_U1[3] + 4
    assert batch.seconds_BL[0].tolist() == sequences.seconds_N[begin : begin + 5].tolist()
    texts = sequences.texts_TX[sequences.text_rows_N[begin : begin + 5]]
    np.testing.assert_array_equal(batch.texts_BLX[0].numpy(), texts.astype(np.float32))
    for name in ("modalities_BL", "categories_BL", "hours_BL", "gaps_BL", "numbers_BLC", "texts_BLX", "seconds_BL"):
        assert not getattr(batch, name)[1, 2:].any(), name
    assert batch.items_BL[0].min() >= FIRST


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ConfigError, match="width 10 cannot have 4 heads"):
        EncoderConfig(architecture="hstu", width=10, heads=4)
    with pytest.raises(ConfigError, match=r"'bert4rec' is unknown; use one of sasrec"):
        EncoderConfig(architecture="bert4rec")
