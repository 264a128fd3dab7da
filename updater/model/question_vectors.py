"""Vectors of whole questions, by the frozen text encoder that made the event vectors."""

from collections.abc import Sequence

import numpy as np

from updater.errors import ConfigError
from updater.model.batch import Float32
from updater.model.text_encoder import load_text_encoder


class QuestionVectors:
    """Encodes each question once. The encoder is loaded for questions that are new, and not kept."""

    def __init__(self, text_encoder: str, version: str) -> None:
        self._text_encoder = text_encoder
        self._version = version
        self._known: dict[str, Float32] = {}

    def __call__(self, questions: Sequence[str]) -> Float32:
        """Vectors of length 1, shape (questions, X).

        Raises:
            ConfigError: the encoder is not there, or is another one than the model was made with.
        """
        if new := [question for question in dict.fromkeys(questions) if question not in self._known]:
            self._known.update(zip(new, self._encode(new).astype(np.float32), strict=True))
        return np.stack([self._known[question] for question in questions])

    def keep(self, questions: Sequence[str], vectors: Float32) -> None:
        """Take vectors that another process has encoded, shape (questions, X)."""
        self._known.update(zip(questions, vectors, strict=True))

    def _encode(self, questions: Sequence[str]) -> np.ndarray:
        encoder = load_text_encoder(self._text_encoder)
        if encoder.version != self._version:
            raise ConfigError(
                f"The text encoder {self._text_encoder!r} is {encoder.version}, and the model was made with "
                f"{self._version}; install that one, or train a model with this one."
            )
        return encoder.encode(questions)
