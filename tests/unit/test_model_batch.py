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
            for name in ("times_A", "local_A", "numeric_AC", "text_rows_A"):
                np.testing.assert_array_equal(getattr(chosen, name)[own], getattr(part, name)[rows])


def test_select_of_nobody_fits() -> None:
    check_batch(BATCH.select([]), CONFIG)


def test_fitting_batch_passes() -> None:
    check_batch(BATCH, CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times_A": np.zeros(1)}, "times_A of modality 'bill'"),
        ({"times_A": BATCH.modalities[0].times_A.astype(np.float32)}, "float32"),
        ({"offsets_B1": np.array([0, 2, 1, 2, 2, 2])}, "never fall|times_A"),
        ({"texts_TX": np.zeros((40, 3), np.float32)}, "texts_TX"),
        ({"numeric_AC": np.zeros((BATCH.modalities[0].offsets_B1[-1], 1))}, "numeric_AC"),
    ],
)
def test_batch_that_does_not_fit_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    wrong = UserBatch((dataclasses.replace(BATCH.modalities[0], **change), *BATCH.modalities[1:]))
    with pytest.raises(ValueError, match=message):
        check_batch(wrong, CONFIG)


def test_missing_modality_is_refused() -> None:
    with pytest.raises(ValueError, match="2 modalities; the model has 3"):
        check_batch(UserBatch(BATCH.modalities[:2]), CONFIG)
