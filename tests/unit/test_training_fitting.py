"""What is fitted to profiles: which of them are looked at, and scales that never divide by nothing."""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.training_data import ANCHORS, make_profiles
from updater.training import fitting
from updater.training.fitting import fit_model, standardization

USERS = sorted(f"u{number}" for number in range(40))
PROFILES = {anchor: make_profiles(anchor, USERS) for anchor in ANCHORS}


def fitted(keys: Sequence[tuple[date, int]]) -> list[int]:
    """How many users the batches hold that a model is fitted to."""
    sizes: list[int] = []

    def fit(batches: Iterable[Any], questions: Sequence[str]) -> None:
        sizes.extend(batch.num_users for batch in batches)
        assert questions == ["why?"]

    model: Any = SimpleNamespace(fit=fit)
    fit_model(model, PROFILES, keys, ["why?"])
    return sizes


def test_all_trained_profiles_are_looked_at_or_an_even_share(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [(anchor, row) for anchor in ANCHORS for row in range(0, 40, 2)]
    monkeypatch.setattr(fitting, "PROFILES_PER_BATCH", 8)
    assert fitted(keys) == [8, 8, 4] * 2
    monkeypatch.setattr(fitting, "MOST_PROFILES", 20)
    assert fitted(keys) == [8, 2] * 2


def test_standardization_is_over_all_events_and_never_divides_by_nothing() -> None:
    profiles = [PROFILES[anchor] for anchor in ANCHORS]
    mean, std = standardization(profiles, 0)
    together = np.concatenate([known.events[0].numeric_NC for known in profiles])
    np.testing.assert_allclose(mean, together.mean(axis=0))
    np.testing.assert_allclose(std, together.std(axis=0))
    empty = make_profiles(date(2024, 5, 1), [])
    assert [part.tolist() for part in standardization([empty], 0)] == [[0.0, 0.0], [1.0, 1.0]]
    events = dataclasses.replace(profiles[0].events[0], values_NC=np.ones_like(profiles[0].events[0].values_NC))
    constant = dataclasses.replace(profiles[0], events=(events, *profiles[0].events[1:]))
    assert standardization([constant], 0)[1].tolist() == [1e-3, 1e-3]
