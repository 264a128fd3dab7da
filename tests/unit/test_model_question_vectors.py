"""Whole questions as vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.model_factories import QUERIES, encoder_directory
from updater.errors import ConfigError
from updater.model.question_vectors import QuestionVectors
from updater.model.sources import text_encoder_version
from updater.model.text_encoder import TextEncoder, load_text_encoder

VERSION = text_encoder_version(encoder_directory())


def test_vectors_are_the_text_encoders_in_the_order_of_the_questions() -> None:
    expected = load_text_encoder(encoder_directory()).encode(QUERIES)
    found = QuestionVectors(encoder_directory(), VERSION)([QUERIES[2], QUERIES[0], QUERIES[2]])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected[[2, 0, 2]])


def test_each_question_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    encode = TextEncoder.encode

    def counting(self: TextEncoder, texts: Sequence[str], *args: Any) -> Any:
        asked.extend(texts)
        return encode(self, texts, *args)

    monkeypatch.setattr(TextEncoder, "encode", counting)
    vectors = QuestionVectors(encoder_directory(), VERSION)
    for questions in (QUERIES[:2], QUERIES, QUERIES[::-1]):
        vectors(questions)
    assert asked == QUERIES


def test_another_text_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"is {VERSION}, and the model was made with other-1; install that one"):
        QuestionVectors(encoder_directory(), "other-1")(QUERIES)
