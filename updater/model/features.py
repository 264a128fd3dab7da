"""Inputs of the adapters, in numpy: standardized vectors and times. Nothing here moves with "now"."""

# B users, M modalities, N events of a modality, T text_dim, C numeric columns of all modalities

import numpy as np
import numpy.typing as npt

from updater.model.batch import RECENT_DAYS, Float32, Float64, ModalityBatch, UserBatch
from updater.model.config import ModalityConfig, ModelConfig

DAY = 86_400.0
NUM_TIME_FEATURES = 5
NUM_STATISTICS = 4 + len(RECENT_DAYS)

Bool = npt.NDArray[np.bool_]


def _circle(steps: int) -> Float32:
    angles = 2 * np.pi * np.arange(steps) / steps
    return np.stack([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


_MINUTE_OF_DAY, _WEEKDAY = _circle(1440), _circle(7)


def event_dim(config: ModelConfig, modality: ModalityConfig) -> int:
    """Width of that modality's event features."""
    return config.vector_dim(modality) + NUM_TIME_FEATURES


def summary_dim(config: ModelConfig, modality: ModalityConfig) -> int:
    """Width of that modality's summary features: mean text vector, mean numeric columns, counts and gaps, topics."""
    return config.vector_dim(modality) + NUM_STATISTICS + config.num_topics(modality)


def newest_event(batch: UserBatch) -> Float64:
    """Time of each user's newest event over all modalities, seconds since the epoch, shape (B,); 0 without events."""
    last_MB = [np.where(part.num_events_B > 0, part.last_event_B, -np.inf) for part in batch.modalities]
    newest_B = np.max(last_MB, axis=0)
    return np.where(np.isfinite(newest_B), newest_B, 0.0)


def event_features(config: ModelConfig, modality: ModalityConfig, part: ModalityBatch, newest_B: Float64) -> Float32:
    """Standardized event vectors, then age against the user's own newest event, time of day and weekday (UTC).

    Returns:
        Shape (N, vector_dim + 5).
    """
    width = config.vector_dim(modality)
    features = np.empty((len(part.times_N), width + NUM_TIME_FEATURES), dtype=np.float32)
    _standardize(
        config, modality, part.vectors_NV, features[:, : config.text_dim], features[:, config.text_dim : width]
    )
    newest_N = np.repeat(newest_B, np.diff(part.offsets_B1))
    features[:, width] = _log_days(newest_N - part.times_N)
    minutes = np.floor(part.times_N / 60).astype(np.int64)
    features[:, width + 1 : width + 3] = _MINUTE_OF_DAY[minutes % 1440]
    # The epoch was a Thursday.
    features[:, width + 3 : width + 5] = _WEEKDAY[(minutes // 1440 + 3) % 7]
    return features


def summary_features(
    config: ModelConfig, modality: ModalityConfig, part: ModalityBatch, newest_B: Float64, topics_BK: Float64
) -> tuple[Float32, Bool]:
    """Standardized mean vector of a modality, then counts and gaps, then logarithms of the counts per topic.

    Standardization is affine, so it commutes with the mean: stored summaries do not depend on the model.

    Args:
        config: the model's.
        modality: the modality.
        part: its events and summaries.
        newest_B: as of `newest_event`.
        topics_BK: events of each topic in the window.

    Returns:
        Features, shape (B, summary_dim), zeros where the modality is absent, and where it is present, shape (B,).
    """
    width = config.vector_dim(modality)
    features = np.empty((len(part.num_events_B), width + NUM_STATISTICS + topics_BK.shape[1]), dtype=np.float32)
    _standardize(config, modality, part.mean_BV, features[:, : config.text_dim], features[:, config.text_dim : width])
    features[:, width : width + NUM_STATISTICS] = _statistics(part, newest_B)
    features[:, width + NUM_STATISTICS :] = np.log1p(topics_BK)
    present_B = part.num_events_B > 0
    features[~present_B] = 0.0
    return features, present_B


def _standardize(config: ModelConfig, modality: ModalityConfig, raw: Float32, text: Float32, numeric: Float32) -> None:
    # A unit vector's entries have mean square 1 / text_dim.
    text[:] = raw[:, : config.text_dim] * np.float32(config.text_dim**0.5)
    mean, std = (np.array(c, dtype=np.float32) for c in (modality.numeric_mean, modality.numeric_std))
    numeric[:] = (raw[:, config.text_dim :] - mean) / std


def _statistics(part: ModalityBatch, newest_B: Float64) -> Float32:
    count_B = part.num_events_B
    span_B = part.last_event_B - part.first_event_B
    columns = [
        np.log1p(count_B.astype(np.float64)),
        *np.log1p(part.num_recent_BR.astype(np.float64)).T,
        _log_days(span_B),
        _log_days(span_B / np.maximum(count_B - 1, 1)),
        _log_days(newest_B - part.last_event_B),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _log_days(seconds: Float64) -> Float64:
    return np.log1p(np.maximum(seconds, 0.0) / DAY)
