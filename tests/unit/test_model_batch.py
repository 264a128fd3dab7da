"""Selecting users of a batch, and batches that do not fit."""

import dataclasses

import numpy as np
import pytest

from tests.model_factories import make_batch, make_config
from updater.model.batch import UserBatch, check_batch

CONFIG = make_config()
BATCH = make_batch(CONFIG)


def test_select_keeps_each_users_events_in_the_given_order() -> None:
    selected = BATCH.select([3, 0, 3])
    check_batch(selected, CONFIG)
    assert selected.num_users == 3
    for part, chosen in zip(BATCH.modalities, selected.modalities, strict=True):
        for new, old in enumerate([3, 0, 3]):
            rows, own = slice(*part.offsets_B1[[old, old + 1]]), slice(*chosen.offsets_B1[[new, new + 1]])
            np.testing.assert_array_equal(chosen.vectors_NV[own], part.vectors_NV[rows])
            np.testing.assert_array_equal(chosen.times_N[own], part.times_N[rows])
            np.testing.assert_array_equal(chosen.mean_BV[new], part.mean_BV[old])
            assert chosen.num_events_B[new] == part.num_events_B[old]
            texts, kept = slice(*part.text_offsets_B1[[old, old + 1]]), slice(*chosen.text_offsets_B1[[new, new + 1]])
            np.testing.assert_array_equal(chosen.text_rows_A[kept], part.text_rows_A[texts])


def test_select_of_nobody_fits() -> None:
    check_batch(BATCH.select([]), CONFIG)


def test_fitting_batch_passes() -> None:
    check_batch(BATCH, CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_BV": np.zeros((5, 3), np.float32)}, "mean_BV of modality 'bill'"),
        ({"mean_BV": np.zeros((5, 14), np.float64)}, "float64"),
        ({"num_events_B": np.full(5, 0)}, "more event vectors than events"),
        ({"times_N": np.zeros(1)}, "times_N"),
        ({"offsets_B1": np.array([0, 1, 0, 0, 0, 0])}, "never fall|vectors_NV"),
        ({"texts_TX": np.zeros((40, 3), np.float32)}, "texts_TX"),
        ({"text_offsets_B1": BATCH.modalities[0].text_offsets_B1[[0, 1, 1, 3, 4, 5]]}, "count all events"),
    ],
)
def test_batch_that_does_not_fit_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    wrong = UserBatch((dataclasses.replace(BATCH.modalities[0], **change), *BATCH.modalities[1:]))
    with pytest.raises(ValueError, match=message):
        check_batch(wrong, CONFIG)


def test_missing_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="2 modalities; the model has 3"):
        check_batch(UserBatch(BATCH.modalities[:2]), CONFIG)
