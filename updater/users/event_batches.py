"""The buffered events of a bucket's users, laid out for summaries and prefixes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.domain.window import Window
from updater.lake.schemas import TEXT_ID_BYTES, numeric_columns
from updater.model.batch import ModalityBatch, UserBatch
from updater.state.event_store import Buffer
from updater.state.summaries import Summaries, summarize
from updater.state.text_vectors import TextVectors
from updater.users.local_time import local_seconds

MICROSECONDS = 1e6
FINGERPRINT_VERSION = 4
"""In front of each prefix fingerprint: its recipe. A user who has not changed since keeps one of an earlier recipe."""


@dataclass(frozen=True)
class UserEvents:
    """Events of U users in one modality. N events, T distinct texts, C numeric columns, V = text width + C."""

    modality: Modality
    offsets_U1: npt.NDArray[np.int64]
    times_N: npt.NDArray[np.float64]
    """Seconds since the epoch; NaN for a snapshot, whose content is a state and not a history."""
    local_N: npt.NDArray[np.float64]
    """The same on the clocks of the config's timezone; 0 for a snapshot."""
    text_rows_N: npt.NDArray[np.int64]
    texts_TV: npt.NDArray[np.float16]
    text_ids: list[bytes]
    """Sorted, so that a user's texts have the same order whoever else is read."""
    values_NC: npt.NDArray[np.float64]
    """The numeric columns as they are in the lake; 0 where null."""
    said: pa.Table | None = None
    """Columns event_id and value of the events, if they were asked for: what a textual profile counts."""

    @cached_property
    def numeric_NC(self) -> npt.NDArray[np.float64]:
        """asinh of the numeric columns, which keeps sign and zero and tames large amounts."""
        numeric: npt.NDArray[np.float64] = np.arcsinh(self.values_NC)
        return numeric

    def vectors(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Raw event vectors of the events at `rows`: text vector, then numeric columns."""
        return np.concatenate([self.texts_TV[self.text_rows_N[rows]].astype(np.float64), self.numeric_NC[rows]], axis=1)

    @cached_property
    def num_events_U(self) -> npt.NDArray[np.int64]:
        """Buffered events of each user."""
        return np.diff(self.offsets_U1)

    def rows_of(
        self, users: npt.NDArray[np.int64], newest: int | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows of the events of `users`, at most the `newest` of each, and their offsets."""
        starts, ends = self.offsets_U1[users], self.offsets_U1[users + 1]
        if newest is not None:
            starts = np.maximum(starts, ends - newest)
        counts = ends - starts
        offsets = np.concatenate([[0], np.cumsum(counts)])
        rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
        return rows, offsets

    def summarize(self, users: npt.NDArray[np.int64]) -> Summaries:
        """Summaries of `users` from all their buffered events."""
        rows, offsets = self.rows_of(users)
        return summarize(self._sums(rows, offsets), self.times_N[rows], offsets)

    def _sums(self, rows: npt.NDArray[np.int64], offsets_B1: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Per user the sum of the event vectors at `rows`, added up in their order in float64; zeros without events.

        The bag adds text vectors where they lie, instead of making a float64 copy of every event's first.
        """
        import torch
        from torch.nn.functional import embedding_bag

        texts_TV = torch.from_numpy(self.texts_TV.astype(np.float64))
        bags = torch.from_numpy(offsets_B1)
        texts = embedding_bag(
            torch.from_numpy(self.text_rows_N[rows]), texts_TV, bags, mode="sum", include_last_offset=True
        )
        numeric = np.zeros((len(offsets_B1) - 1, self.numeric_NC.shape[1]))
        owners = np.flatnonzero(np.diff(offsets_B1))
        if len(owners):
            numeric[owners] = np.add.reduceat(self.numeric_NC[rows], offsets_B1[owners], axis=0)
        return np.concatenate([texts.numpy(), numeric], axis=1)


def load_events(
    buffer: Buffer,
    modality: Modality,
    window: Window,
    users: pa.Table,
    buckets: Sequence[int],
    vectors: TextVectors,
    counted: str = "",
) -> UserEvents:
    """Read the buffer of `users` (column user_id, sorted), who are in `buckets`, at `window.as_of`.

    Args:
        buffer: the modality's buffer.
        modality: the modality.
        window: the window at whose end it is read.
        users: whom to read.
        buckets: their buckets.
        vectors: the texts' vectors.
        counted: the column of the event files that a textual profile counts; empty for none.
    """
    content = buffer.content(window, users, buckets, [counted] if counted else [])
    owners = pc.index_in(content["user_id"].combine_chunks(), value_set=users["user_id"].combine_chunks()).to_numpy()
    ids = content["text_id"].combine_chunks().cast(pa.binary())
    distinct = pc.unique(ids)
    distinct = distinct.take(pc.sort_indices(distinct))
    times = content["event_time"].cast(pa.int64()).to_numpy() / MICROSECONDS
    snapshot = modality.kind == "snapshot"
    numeric = [np.nan_to_num(content[name].to_numpy().astype(np.float64)) for name in numeric_columns(modality)]
    return UserEvents(
        modality=modality,
        offsets_U1=np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=users.num_rows))]).astype(np.int64),
        times_N=np.full(len(times), np.nan) if snapshot else times,
        local_N=np.zeros(len(times)) if snapshot else local_seconds(times, buffer.timezone),
        text_rows_N=pc.index_in(ids, value_set=distinct).to_numpy().astype(np.int64),
        texts_TV=vectors.gather(distinct.cast(pa.binary(TEXT_ID_BYTES))),
        text_ids=distinct.to_pylist(),
        values_NC=np.stack(numeric, axis=1) if numeric else np.zeros((len(times), 0)),
        said=content.select(["event_id", counted]).rename_columns(["event_id", "value"]) if counted else None,
    )


def user_batch(events: Sequence[UserEvents], users: npt.NDArray[np.int64]) -> UserBatch:
    """The model's input for `users` (positions in `events`): all their buffered events.

    A snapshot has no times of its own: its rows are given the user's newest event time, so they never age.
    """
    newest_B = np.zeros(len(users))
    for event in events:
        starts, ends = event.offsets_U1[users], event.offsets_U1[users + 1]
        owners = np.flatnonzero(ends > starts)
        newest_B[owners] = np.fmax(newest_B[owners], event.times_N[ends[owners] - 1])
    return UserBatch(tuple(_modality_batch(event, users, newest_B) for event in events))


def _modality_batch(
    events: UserEvents, users: npt.NDArray[np.int64], newest_B: npt.NDArray[np.float64]
) -> ModalityBatch:
    rows, offsets = events.rows_of(users)
    snapshot = events.modality.kind == "snapshot"
    texts, text_rows = np.unique(events.text_rows_N[rows], return_inverse=True)
    return ModalityBatch(
        offsets_B1=offsets.astype(np.int64),
        times_A=np.repeat(newest_B, np.diff(offsets)) if snapshot else events.times_N[rows],
        local_A=events.local_N[rows],
        numeric_AC=events.numeric_NC[rows],
        text_rows_A=text_rows.astype(np.int64),
        texts_TX=events.texts_TV[texts].astype(np.float32),
    )


def prefix_fingerprints(events: Sequence[UserEvents], users: npt.NDArray[np.int64]) -> list[str]:
    """Per user a digest of all that embeddings are made from: the user's events of `user_batch`, with texts by their
    ids.

    The model is not a part of it, so another model version leaves the fingerprints as they are. Numbers go in as they
    are in the lake: the last bits of their asinh are the processor's.
    """
    hashes = [blake2b(digest_size=16) for _ in users]
    for event in events:
        rows, offsets = event.rows_of(users)
        ids = [event.text_ids[row] for row in event.text_rows_N[rows]]
        # A snapshot's rows have no times.
        times = np.nan_to_num(event.times_N[rows])
        for b, digest in enumerate(hashes):
            own = slice(offsets[b], offsets[b + 1])
            digest.update(np.array([own.stop - own.start]).tobytes() + times[own].tobytes())
            digest.update(event.values_NC[rows[own]].tobytes() + b"".join(ids[own]))
    return [f"{FINGERPRINT_VERSION}-{digest.hexdigest()}" for digest in hashes]
