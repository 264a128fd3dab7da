"""Inputs of the paper layout's adapters, in numpy: standardized vectors and times. Nothing here moves with "now"."""

# B users, N events, X text_dim, C numeric columns of a modality

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import embedding_bag

from updater.model.batch import Float32, Float64, Int64, ModalityBatch, UserBatch
from updater.model.config import ModalityConfig, ModelConfig

DAY = 86_400.0
NUM_TIME_FEATURES = 5
RECENT_DAYS = (7, 28)
"""Events are also counted within so many days before the modality's own newest event."""
NUM_STATISTICS = 4 + len(RECENT_DAYS)


def _circle(steps: int) -> Float32:
    angles = 2 * np.pi * np.arange(steps) / steps
    return np.stack([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


_MINUTE_OF_DAY, _WEEKDAY = _circle(1440), _circle(7)


def event_dim(config: ModelConfig, modality: ModalityConfig) -> int:
    """Width of that modality's event features."""
    return config.vector_dim(modality) + NUM_TIME_FEATURES


def summary_dim(config: ModelConfig) -> int:
    """Width of the summary features of every modality: the mean text vector, counts and gaps, mean numeric columns."""
    return config.text_dim + NUM_STATISTICS + max(modality.num_numeric for modality in config.modalities)


def newest_event(batch: UserBatch) -> Float64:
    """Time of each user's newest event over all modalities, seconds since the epoch, shape (B,); 0 without events."""
    newest_B = np.zeros(batch.num_users)
    for part in batch.modalities:
        owners = np.flatnonzero(part.counts_B)
        newest_B[owners] = np.maximum(newest_B[owners], part.times_A[part.offsets_B1[1:][owners] - 1])
    return newest_B


def newest_rows(part: ModalityBatch, most: int) -> tuple[Int64, Int64]:
    """Rows of at most the `most` newest events of each user, and how many each has."""
    counts_B = np.minimum(part.counts_B, most)
    starts = np.repeat(part.offsets_B1[1:] - np.cumsum(counts_B), counts_B)
    return starts + np.arange(counts_B.sum()), counts_B


def event_features(
    config: ModelConfig, modality: ModalityConfig, part: ModalityBatch, rows_N: Int64, newest_B: Float64
) -> Float32:
    """Standardized event vectors, then age against the user's own newest event, time of day and weekday (UTC).

    Args:
        config: the model's.
        modality: the modality.
        part: its events.
        rows_N: the events that are wanted.
        newest_B: as of `newest_event`.

    Returns:
        Shape (N, vector_dim + 5).
    """
    width, times_N = config.vector_dim(modality), part.times_A[rows_N]
    features = np.empty((len(rows_N), width + NUM_TIME_FEATURES), dtype=np.float32)
    features[:, : config.text_dim] = _lengthened(config, part.texts_TX[part.text_rows_A[rows_N]])
    features[:, config.text_dim : width] = _standardized(modality, part.numeric_AC[rows_N])
    features[:, width] = _log_days(newest_B[part.owners_A[rows_N]] - times_N)
    minutes = np.floor(times_N / 60).astype(np.int64)
    features[:, width + 1 : width + 3] = _MINUTE_OF_DAY[minutes % 1440]
    # The epoch was a Thursday.
    features[:, width + 3 : width + 5] = _WEEKDAY[(minutes // 1440 + 3) % 7]
    return features


def summary_features(config: ModelConfig, modality: ModalityConfig, part: ModalityBatch, newest_B: Float64) -> Float32:
    """Mean text vector over the whole buffer, then counts and gaps, then mean numeric columns, standardized.

    Returns:
        Shape (B, summary_dim), zeros where the modality is absent.
    """
    counts_B, end = part.counts_B, config.text_dim + NUM_STATISTICS
    features = np.zeros((len(counts_B), summary_dim(config)), dtype=np.float32)
    present = np.flatnonzero(counts_B)
    if not len(present):
        return features
    # In float64 and in the order of the events, so that a mean does not depend on who is computed along.
    rows, offsets = torch.from_numpy(part.text_rows_A), torch.from_numpy(part.offsets_B1)
    texts = torch.from_numpy(part.texts_TX.astype(np.float64))
    sums = embedding_bag(rows, texts, offsets, mode="sum", include_last_offset=True).numpy()
    features[present, : config.text_dim] = _lengthened(config, sums[present] / counts_B[present, None])
    features[present, config.text_dim : end] = _statistics(part, newest_B)[present]
    numeric = [np.bincount(part.owners_A, column, len(counts_B)) for column in part.numeric_AC.T]
    for number, means_B in enumerate(
        _standardized(modality, np.stack(numeric, 1) / np.maximum(counts_B, 1)[:, None]).T if numeric else ()
    ):
        features[present, end + number] = means_B[present]
    return features


def _lengthened(config: ModelConfig, texts: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    # A unit vector's entries have mean square 1 / text_dim.
    result: npt.NDArray[np.floating] = texts * config.text_dim**0.5
    return result


def _standardized(modality: ModalityConfig, numeric: Float64) -> Float64:
    result: Float64 = (numeric - np.array(modality.numeric_mean)) / np.array(modality.numeric_std)
    return result


def _statistics(part: ModalityBatch, newest_B: Float64) -> Float32:
    counts_B, owners_A = part.counts_B, part.owners_A
    present = counts_B > 0
    first_B, last_B = np.zeros((2, len(counts_B)))
    first_B[present] = part.times_A[part.offsets_B1[:-1][present]]
    last_B[present] = part.times_A[part.offsets_B1[1:][present] - 1]
    before_last_A = last_B[owners_A] - part.times_A
    recent = [np.bincount(owners_A[before_last_A <= days * DAY], minlength=len(counts_B)) for days in RECENT_DAYS]
    columns = [
        np.log1p(counts_B.astype(np.float64)),
        *(np.log1p(each.astype(np.float64)) for each in recent),
        _log_days(last_B - first_B),
        _log_days((last_B - first_B) / np.maximum(counts_B - 1, 1)),
        _log_days(newest_B - last_B),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _log_days(seconds: Float64) -> Float64:
    return np.log1p(np.maximum(seconds, 0.0) / DAY)
