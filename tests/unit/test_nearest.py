"""Nearest vectors: against a plain sort, with ties, in chunks of any size."""

import numpy as np
import pytest

from updater.pipeline.asking import nearest as module
from updater.pipeline.asking.nearest import nearest


def test_known_angles():
    users, vectors = ["north", "east", "south", "long north-east", "zero"], [[0, 1], [1, 0], [0, -1], [3, 3], [0, 0]]
    found = nearest([(users, np.array(vectors, np.float32))], np.array([0, 2], np.float32), 5)
    expected = [("north", 1.0), ("long north-east", 0.5**0.5), ("east", 0.0), ("zero", 0.0), ("south", -1.0)]
    assert [user for user, _ in found] == [user for user, _ in expected]
    assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-15)


@pytest.mark.parametrize("rows", [1, 7, 4096])
def test_any_chunks_give_the_list_of_a_plain_sort_ties_by_id(monkeypatch, rows):
    monkeypatch.setattr(module, "ROWS", rows)
    draw = np.random.default_rng(5)
    vectors = draw.normal(size=(40, 8)).astype(np.float32)[draw.integers(0, 40, 300)]  # many users have equal vectors
    users = [f"u{number:03}" for number in draw.permutation(300)]
    wanted = draw.normal(size=8).astype(np.float32)
    wide = vectors.astype(np.float64)
    cosines = {  # one at a time
        user: float((row * wanted).sum() / np.sqrt((row * row).sum() * (wanted.astype(float) ** 2).sum()))
        for user, row in zip(users, wide, strict=True)
    }
    whole = sorted(cosines, key=lambda user: (-cosines[user], user))
    for size in (1, 13, 300):
        chunks = [(users[start : start + size], vectors[start : start + size]) for start in range(0, 300, size)]
        for top in (1, 25, 299, 300, 1000):
            found = nearest(chunks, wanted, top)
            assert [user for user, _ in found] == whole[:top]
            assert [cosine for _, cosine in found] == [cosines[user] for user in whole[:top]]


def test_nobody():
    assert nearest([([], np.zeros((0, 0), np.float32))], np.ones(3, np.float32), 5) == []
