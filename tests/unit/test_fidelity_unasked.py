"""Which readers read unasked."""

from types import SimpleNamespace
from typing import Any

import pytest

from updater.fidelity.systems.compared import ASKED, NATIVE, cheap_readers


@pytest.mark.parametrize(
    ("backbone", "own_answers", "expected"),
    [
        ("none", object(), (NATIVE, ASKED)),
        ("tiny", None, (NATIVE, ASKED)),
        ("org/language-model", object(), ()),
        # A model that was trained before is read by its embedding under the question alone.
        ("org/language-model", None, (NATIVE,)),
    ],
)
def test_no_option_costs_a_pass_of_a_language_model_unasked(
    backbone: str, own_answers: object, expected: tuple[str, ...]
) -> None:
    model: Any = SimpleNamespace(config=SimpleNamespace(backbone=backbone), own_answers=own_answers)
    assert cheap_readers(model) == expected
