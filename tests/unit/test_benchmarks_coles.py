"""What CoLES reads: each user's stream events in the order of time, as numbers; and what it says if it is missing."""

import sys
from datetime import date

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.quality import coles
from tests.training_data import make_profiles
from updater.errors import ConfigError

USERS = [f"u{number}" for number in range(10, 30)]


@pytest.fixture(scope="module")
def profiles():
    return make_profiles(date(2024, 3, 1), USERS)


def test_a_sequence_has_the_users_stream_events_in_the_order_of_time(profiles):
    log = coles.Log([profiles])
    sequences = log.sequences(profiles)
    bill, search, _ = profiles.events

    assert len(sequences) == len(USERS)
    for user, one in enumerate(sequences):
        times = one["event_time"].numpy()
        rows = [events.rows_of(np.array([user]))[0] for events in (bill, search)]
        expected = np.concatenate([bill.times_N[rows[0]], search.times_N[rows[1]]])
        assert times.tolist() == sorted(expected)
        assert sorted(one["modality"].tolist()) == [1] * len(rows[0]) + [2] * len(rows[1])
        of_bill = one["modality"].numpy() == 1
        assert one["number_1"].numpy()[of_bill] == pytest.approx(bill.numeric_NC[rows[0], 1], abs=1e-6)
        assert not one["number_1"].numpy()[~of_bill].any()
        gaps = np.diff(times, prepend=times[:1]) / 86_400
        assert one["gap"].numpy() == pytest.approx(np.log1p(gaps), abs=1e-6)


def test_only_the_commonest_texts_have_a_number_of_their_own(profiles, monkeypatch):
    monkeypatch.setattr(coles, "MAX_TEXTS", 2)
    log = coles.Log([profiles])
    numbers = {number for one in log.sequences(profiles) for number in one["text"].tolist()}
    assert sorted(log.texts.values()) == [2, 3] and numbers == {1, 2, 3}


def test_only_the_newest_events_are_read(profiles, monkeypatch):
    every = coles.Log([profiles]).sequences(profiles)
    monkeypatch.setattr(coles, "MAX_EVENTS", 3)
    newest = coles.Log([profiles]).sequences(profiles)
    assert [one["event_time"].tolist() for one in newest] == [one["event_time"].tolist()[-3:] for one in every]


def test_without_the_library_it_says_how_to_install_it(profiles, monkeypatch):
    monkeypatch.setitem(sys.modules, "ptls", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    log = coles.Log([profiles])
    with pytest.raises(ConfigError, match=r"pip install --no-deps --target build/coles"):
        coles._trained(log, [[one] for one in log.sequences(profiles)], 8, 1.0, 7, lambda *_: None)
