"""What of a model is fitted to data and not learned, from the profiles that it is trained on."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby

import numpy as np
import numpy.typing as npt

from updater.model.batch import UserBatch
from updater.model.config import ModelConfig
from updater.model.user_model import UserModel
from updater.training.profiles import Profiles

MOST_PROFILES = 20_000
"""Profiles that are looked at, over all anchor days."""
PROFILES_PER_BATCH = 512

Keys = Sequence[tuple[date, int]]
"""Anchor day and row in its profiles."""


def fit_model(model: UserModel, profiles: Mapping[date, Profiles], trained: Keys, questions: Sequence[str]) -> None:
    """Fit `model` in place to the profiles `trained`, sorted keys, and to the questions of training."""
    model.fit(_batches(profiles, trained), questions)


def _batches(profiles: Mapping[date, Profiles], trained: Keys) -> Iterator[UserBatch]:
    """Evenly spread over days and users, which are sorted."""
    chosen = trained[:: max(1, -(-len(trained) // MOST_PROFILES))]
    for anchor, keys in groupby(chosen, key=lambda key: key[0]):
        rows = np.array([row for _, row in keys], dtype=np.int64)
        for start in range(0, len(rows), PROFILES_PER_BATCH):
            yield profiles[anchor].batch(rows[start : start + PROFILES_PER_BATCH])


def standardized(config: ModelConfig, profiles: Sequence[Profiles]) -> ModelConfig:
    """`config` with each numeric column's mean and deviation over the events of `profiles`."""
    modalities = []
    for number, modality in enumerate(config.modalities):
        mean, std = standardization(profiles, number)
        modalities.append(
            dataclasses.replace(modality, numeric_mean=tuple(mean.tolist()), numeric_std=tuple(std.tolist()))
            if modality.num_numeric
            else modality
        )
    return dataclasses.replace(config, modalities=tuple(modalities))


def standardization(profiles: Sequence[Profiles], modality: int) -> tuple[npt.NDArray[np.float64], ...]:
    """Mean and standard deviation of a modality's numeric columns over the events of `profiles`."""
    numeric = np.concatenate([known.events[modality].numeric_NC for known in profiles])
    if not len(numeric):
        return np.zeros(numeric.shape[1]), np.ones(numeric.shape[1])
    return numeric.mean(axis=0), np.maximum(numeric.std(axis=0), 1e-3)
