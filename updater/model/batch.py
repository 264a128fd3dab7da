"""What the pipeline hands to the user model: the buffered events of B users, modality by modality."""

# B users, A events of a modality, T distinct texts, X text_dim, C numeric columns

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from updater.model.config import ModelConfig

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def segment_rows(starts: Int64, lengths: Int64) -> Int64:
    """Row numbers of the runs `starts[i], starts[i] + 1, …` of `lengths[i]` rows, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)


def select_segments(offsets_B1: Int64, indices: Int64) -> tuple[Int64, Int64]:
    """Rows of the users at `indices`, and their new offsets."""
    counts = np.diff(offsets_B1)[indices]
    return segment_rows(offsets_B1[indices], counts), np.concatenate(([0], np.cumsum(counts)))


@dataclass(frozen=True)
class ModalityBatch:
    """One modality of B users: all their events in the buffer, each user's oldest first, users one after the other."""

    offsets_B1: Int64
    """User b's events are rows offsets[b] to offsets[b + 1], shape (B + 1,)."""
    times_A: Float64
    """Times of the events, seconds since the epoch; of a snapshot's rows that of the user's newest event."""
    local_A: Float64
    """The same on local clocks, seconds since their 1970 began; 0 for a snapshot's rows."""
    numeric_AC: Float64
    """asinh of the numeric columns."""
    text_rows_A: Int64
    """Row of each event's text in `texts_TX`."""
    texts_TX: Float32
    """Vectors of the distinct texts, in the order of their ids."""

    @property
    def counts_B(self) -> Int64:
        """Events of each user."""
        return np.diff(self.offsets_B1)

    @property
    def owners_A(self) -> Int64:
        """The user of each event."""
        return np.repeat(np.arange(len(self.offsets_B1) - 1), self.counts_B)

    def select(self, indices: Int64) -> "ModalityBatch":
        """The users at `indices`, in that order."""
        rows, offsets = select_segments(self.offsets_B1, indices)
        return ModalityBatch(
            offsets_B1=offsets,
            times_A=self.times_A[rows],
            local_A=self.local_A[rows],
            numeric_AC=self.numeric_AC[rows],
            text_rows_A=self.text_rows_A[rows],
            texts_TX=self.texts_TX,
        )


@dataclass(frozen=True)
class UserBatch:
    """B users: one ModalityBatch per modality, in the model config's order."""

    modalities: tuple[ModalityBatch, ...]

    @property
    def num_users(self) -> int:
        """Number of users B."""
        return len(self.modalities[0].offsets_B1) - 1

    def select(self, indices: Sequence[int] | Int64) -> "UserBatch":
        """The users at `indices`, in that order; an index may occur more than once."""
        rows = np.asarray(indices, dtype=np.int64)
        return UserBatch(tuple(modality.select(rows) for modality in self.modalities))


def check_batch(batch: UserBatch, config: ModelConfig) -> None:
    """Raise ValueError if a shape, a type or an offset of `batch` does not fit `config`; costs no pass over events."""
    if len(batch.modalities) != len(config.modalities):
        raise ValueError(f"batch has {len(batch.modalities)} modalities; the model has {len(config.modalities)}.")
    num_users = batch.num_users
    for part, modality in zip(batch.modalities, config.modalities, strict=True):
        num_events = int(part.offsets_B1[-1]) if len(part.offsets_B1) else 0
        expected: dict[str, tuple[tuple[int, ...], type]] = {
            "offsets_B1": ((num_users + 1,), np.int64),
            "times_A": ((num_events,), np.float64),
            "local_A": ((num_events,), np.float64),
            "numeric_AC": ((num_events, modality.num_numeric), np.float64),
            "text_rows_A": ((num_events,), np.int64),
            "texts_TX": ((len(part.texts_TX), config.text_dim), np.float32),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(part, name)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} of modality {modality.name!r} is {array.dtype} {array.shape}; "
                    f"the model needs {np.dtype(dtype)} {shape}."
                )
        if part.offsets_B1[0] != 0 or (part.counts_B < 0).any():
            raise ValueError(f"offsets_B1 of modality {modality.name!r} must start at 0 and never fall.")
