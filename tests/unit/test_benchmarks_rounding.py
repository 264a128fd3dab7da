"""Rounding is measured on the test rows of probes that learned from exact embeddings."""

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from benchmarks.quality.rounding import rounded_scores
from updater.evaluation.probe import Penalty, logistic_path
from updater.evaluation.scoring import TaskRows
from updater.evaluation.systems.compared import System
from updater.labels.tasks import Task
from updater.store.online.rounding import rounded


def test_probes_learn_from_exact_rows_and_score_rounded_ones() -> None:
    task = Task(name="a", domain="risk", kind="occurs", parameters={"modality": "bill", "active_in": "bill"})
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 5))
    features[:, -1] = 1234.5678  # no part of the embedding
    label = features[:, 0] + random.normal(size=60) > 0
    train = np.arange(60) < 40
    users = np.array([f"u{number}" for number in range(60)])
    rows = TaskRows(pa.table({"row": range(60)}), users, label, train, ~train & False, ~train)
    penalty = Penalty(0.02, by_part=True)
    found = rounded_scores(
        System("base", lambda _, table: (features[:, :-1], features[:, -1:])), [task], {"a": rows}, penalty
    )

    [score] = logistic_path(features[train], label[train], [penalty], [4, 1])
    for form, scores in found.items():
        exact = features[~train][:, :-1].astype(np.float32)
        expected = score(np.column_stack([rounded(exact, form), features[~train][:, -1]]))
        assert np.array_equal(scores.predictions["a"].score, expected)
        assert scores.predictions["a"].user.tolist() == users[~train].tolist()
    apart = [np.abs(found[form].predictions["a"].score - score(features[~train])).max() for form in found]
    assert apart[0] < apart[1] < apart[2] < 0.1
