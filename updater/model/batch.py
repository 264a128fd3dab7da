"""What the pipeline hands to the user model: per modality one summary and the newest event vectors of B users."""

# B users, N newest events of all users, A all their events, T distinct texts, X text_dim,
# V width of an event vector, R recent periods

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from updater.model.config import ModelConfig

RECENT_DAYS = (7, 28)
"""Periods before a modality's own last event whose events are counted, in days."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def segment_rows(starts: Int64, lengths: Int64) -> Int64:
    """Row numbers of the runs `starts[i], starts[i] + 1, …` of `lengths[i]` rows, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)


def _segments(offsets_B1: Int64, indices: Int64) -> tuple[Int64, Int64]:
    """Rows of the users at `indices`, and their new offsets."""
    counts = np.diff(offsets_B1)[indices]
    return segment_rows(offsets_B1[indices], counts), np.concatenate(([0], np.cumsum(counts)))


@dataclass(frozen=True)
class ModalityBatch:
    """One modality of B users. An event vector is the text vector followed by asinh of the numeric columns."""

    mean_BV: Float32
    """Mean event vector over the whole window, shape (B, V); zeros without events."""
    num_events_B: Int64
    """Events in the whole window."""
    first_event_B: Float64
    """Oldest event time in the window, seconds since the epoch; 0 without events."""
    last_event_B: Float64
    """Newest event time in the window, seconds since the epoch; 0 without events."""
    num_recent_BR: Int64
    """Events within each of RECENT_DAYS before the modality's own last event, inclusive, shape (B, R)."""
    vectors_NV: Float32
    """Vectors of each user's newest `max_events` events, oldest first, users concatenated, shape (N, V)."""
    times_N: Float64
    """Times of these events, seconds since the epoch."""
    offsets_B1: Int64
    """User b's events are rows offsets[b] to offsets[b + 1], shape (B + 1,)."""
    texts_TX: Float32
    """Text vectors of all events in the window, each distinct text once."""
    text_rows_A: Int64
    """Row in `texts_TX` of each event in the window, users concatenated."""
    text_offsets_B1: Int64
    """User b's are rows text_offsets[b] to text_offsets[b + 1], shape (B + 1,)."""
    local_A: Float64
    """Local wall-clock time of each event in the window, seconds since the epoch; 0 for a snapshot's rows."""
    numeric_AC: Float64
    """asinh of the numeric columns of each event in the window."""

    def select(self, indices: Int64) -> "ModalityBatch":
        """The users at `indices`, in that order."""
        rows, offsets = _segments(self.offsets_B1, indices)
        text_rows, text_offsets = _segments(self.text_offsets_B1, indices)
        return ModalityBatch(
            mean_BV=self.mean_BV[indices],
            num_events_B=self.num_events_B[indices],
            first_event_B=self.first_event_B[indices],
            last_event_B=self.last_event_B[indices],
            num_recent_BR=self.num_recent_BR[indices],
            vectors_NV=self.vectors_NV[rows],
            times_N=self.times_N[rows],
            offsets_B1=offsets,
            texts_TX=self.texts_TX,
            text_rows_A=self.text_rows_A[text_rows],
            local_A=self.local_A[text_rows],
            numeric_AC=self.numeric_AC[text_rows],
            text_offsets_B1=text_offsets,
        )


@dataclass(frozen=True)
class UserBatch:
    """B users: one ModalityBatch per modality, in the model config's order."""

    modalities: tuple[ModalityBatch, ...]

    @property
    def num_users(self) -> int:
        """Number of users B."""
        return len(self.modalities[0].num_events_B)

    def select(self, indices: Sequence[int] | Int64) -> "UserBatch":
        """The users at `indices`, in that order; an index may occur more than once."""
        rows = np.asarray(indices, dtype=np.int64)
        return UserBatch(tuple(modality.select(rows) for modality in self.modalities))


def check_batch(batch: UserBatch, config: ModelConfig) -> None:
    """Raise ValueError if a shape, a type or an offset of `batch` does not fit `config`; costs no pass over vectors."""
    if len(batch.modalities) != len(config.modalities):
        raise ValueError(f"batch has {len(batch.modalities)} modalities; the model has {len(config.modalities)}.")
    num_users = batch.num_users
    for part, modality in zip(batch.modalities, config.modalities, strict=True):
        width = config.vector_dim(modality)
        num_rows, num_all = (int(x[-1]) if len(x) else 0 for x in (part.offsets_B1, part.text_offsets_B1))
        expected: dict[str, tuple[tuple[int, ...], type]] = {
            "mean_BV": ((num_users, width), np.float32),
            "num_events_B": ((num_users,), np.int64),
            "first_event_B": ((num_users,), np.float64),
            "last_event_B": ((num_users,), np.float64),
            "num_recent_BR": ((num_users, len(RECENT_DAYS)), np.int64),
            "vectors_NV": ((num_rows, width), np.float32),
            "times_N": ((num_rows,), np.float64),
            "offsets_B1": ((num_users + 1,), np.int64),
            "texts_TX": ((len(part.texts_TX), config.text_dim), np.float32),
            "text_rows_A": ((num_all,), np.int64),
            "text_offsets_B1": ((num_users + 1,), np.int64),
            "local_A": ((num_all,), np.float64),
            "numeric_AC": ((num_all, modality.num_numeric), np.float64),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(part, name)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} of modality {modality.name!r} is {array.dtype} {array.shape}; "
                    f"the model needs {np.dtype(dtype)} {shape}."
                )
        counts = np.diff(part.offsets_B1)
        if part.offsets_B1[0] != 0 or (counts < 0).any():
            raise ValueError(f"offsets_B1 of modality {modality.name!r} must start at 0 and never fall.")
        if (counts > np.minimum(part.num_events_B, modality.max_events)).any():
            raise ValueError(
                f"modality {modality.name!r} has a user with more event vectors than events or than "
                f"max_events = {modality.max_events}."
            )
        if part.text_offsets_B1[0] != 0 or (np.diff(part.text_offsets_B1) != part.num_events_B).any():
            raise ValueError(f"text_offsets_B1 of modality {modality.name!r} must start at 0 and count all events.")
