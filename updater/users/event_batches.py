"""The buffered events of a bucket's users, laid out for summaries and prefixes."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.nn.functional import embedding_bag

from updater.domain.modality import Modality
from updater.domain.window import Window
from updater.lake.schemas import numeric_columns
from updater.model.batch import ModalityBatch, UserBatch
from updater.state.event_store import Buffer
from updater.state.summaries import Summaries, summarize
from updater.state.text_vectors import TextVectors

MICROSECONDS = 1e6
FINGERPRINT_VERSION = 2
"""In front of each prefix fingerprint; the first ones had none."""


@dataclass(frozen=True)
class UserEvents:
    """Events of U users in one modality. N events, T distinct texts, C numeric columns, V = text width + C."""

    modality: Modality
    offsets_U1: npt.NDArray[np.int64]
    times_N: npt.NDArray[np.float64]
    """Seconds since the epoch; NaN for a snapshot, whose content is a state and not a history."""
    text_rows_N: npt.NDArray[np.int64]
    texts_TV: npt.NDArray[np.float16]
    text_ids: list[bytes]
    numeric_NC: npt.NDArray[np.float64]
    """asinh of the numeric columns, which keeps sign and zero and tames large amounts; 0 where null."""

    def vectors(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Raw event vectors of the events at `rows`: text vector, then numeric columns."""
        return np.concatenate([self.texts_TV[self.text_rows_N[rows]].astype(np.float64), self.numeric_NC[rows]], axis=1)

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
    buffer: Buffer, modality: Modality, window: Window, users: pa.Table, buckets: Sequence[int], vectors: TextVectors
) -> UserEvents:
    """Read the buffer of `users` (column user_id, sorted), who are in `buckets`, at `window.as_of`."""
    content = buffer.content(window, users, buckets)
    owners = pc.index_in(content["user_id"].combine_chunks(), value_set=users["user_id"].combine_chunks()).to_numpy()
    texts = pc.dictionary_encode(content["text_id"].combine_chunks())
    distinct = texts.dictionary.cast(pa.binary(16))
    times = content["event_time"].cast(pa.int64()).to_numpy() / MICROSECONDS
    numeric = [np.nan_to_num(content[name].to_numpy().astype(np.float64)) for name in numeric_columns(modality)]
    return UserEvents(
        modality=modality,
        offsets_U1=np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=users.num_rows))]).astype(np.int64),
        times_N=np.full(len(times), np.nan) if modality.kind == "snapshot" else times,
        text_rows_N=texts.indices.to_numpy().astype(np.int64),
        texts_TV=vectors.gather(distinct),
        text_ids=distinct.to_pylist(),
        numeric_NC=np.arcsinh(np.stack(numeric, axis=1)) if numeric else np.zeros((len(times), 0)),
    )


def user_batch(events: Sequence[UserEvents], summaries: Sequence[Summaries], users: npt.NDArray[np.int64]) -> UserBatch:
    """The model's input for `users` (positions in `events`); `summaries` are already those of `users`, in the same
    order.

    A snapshot has no times of its own: its rows are given the user's newest event time, so they never age.
    """
    last = np.stack([summary.last_event_B for summary in summaries])
    newest_B = np.nan_to_num(np.fmax.reduce(last, axis=0)) if len(users) else np.zeros(0)
    return UserBatch(tuple(_modality_batch(e, s, users, newest_B) for e, s in zip(events, summaries, strict=True)))


def _modality_batch(
    events: UserEvents, summary: Summaries, users: npt.NDArray[np.int64], newest_B: npt.NDArray[np.float64]
) -> ModalityBatch:
    rows, offsets = events.rows_of(users, events.modality.max_events)
    times = events.times_N[rows]
    if events.modality.kind == "snapshot":
        times = np.repeat(newest_B, np.diff(offsets))
        first = last = np.where(summary.num_events_B > 0, newest_B, 0.0)
    else:
        first, last = np.nan_to_num(summary.first_event_B), np.nan_to_num(summary.last_event_B)
    all_rows, all_offsets = events.rows_of(users)
    texts, text_rows = np.unique(events.text_rows_N[all_rows], return_inverse=True)
    return ModalityBatch(
        mean_BV=summary.mean_BV,
        num_events_B=summary.num_events_B,
        first_event_B=first,
        last_event_B=last,
        num_recent_BR=summary.num_recent_BR,
        vectors_NV=events.vectors(rows).astype(np.float32),
        times_N=times,
        offsets_B1=offsets,
        texts_TX=events.texts_TV[texts].astype(np.float32),
        text_rows_A=text_rows.astype(np.int64),
        text_offsets_B1=all_offsets,
    )


def prefix_fingerprints(
    events: Sequence[UserEvents], summaries: Sequence[Summaries], users: npt.NDArray[np.int64]
) -> list[str]:
    """Per user a digest of all that the prefix is made from: the user's rows of `user_batch`, with texts by their ids.

    The model is not a part of it, so another model version leaves the fingerprints as they are. The number in front
    is the version of the recipe.
    """
    hashes = [blake2b(digest_size=16) for _ in users]
    batch = user_batch(events, summaries, users)
    for event, part in zip(events, batch.modalities, strict=True):
        rows, offsets = event.rows_of(users, event.modality.max_events)
        all_rows, _ = event.rows_of(users)
        numeric, of_events = event.numeric_NC[rows], event.text_rows_N[all_rows]
        for b, digest in enumerate(hashes):
            own, every = slice(offsets[b], offsets[b + 1]), slice(*part.text_offsets_B1[b : b + 2])
            scalars = [part.num_events_B[b], part.first_event_B[b], part.last_event_B[b], own.stop - own.start]
            digest.update(np.array(scalars, np.float64).tobytes() + part.num_recent_BR[b].tobytes())
            digest.update(part.mean_BV[b].tobytes() + part.times_N[own].tobytes() + numeric[own].tobytes())
            digest.update(b"".join(event.text_ids[row] for row in of_events[every]))
    return [f"{FINGERPRINT_VERSION}-{digest.hexdigest()}" for digest in hashes]


def first_fingerprints(
    events: Sequence[UserEvents], summaries: Sequence[Summaries], users: npt.NDArray[np.int64]
) -> list[str]:
    """Fingerprints as they were made before they had a version: of number, mean and newest events only.

    A user who has not changed since keeps such a row, which is right.
    """
    hashes = [blake2b(digest_size=16) for _ in users]
    for event, summary in zip(events, summaries, strict=True):
        rows, offsets = event.rows_of(users, event.modality.max_events)
        times, numeric = event.times_N[rows], event.numeric_NC[rows]
        ids = [event.text_ids[row] for row in event.text_rows_N[rows]]
        for b, digest in enumerate(hashes):
            own = slice(offsets[b], offsets[b + 1])
            digest.update(summary.num_events_B[b].tobytes() + summary.mean_BV[b].tobytes())
            digest.update(b"".join(ids[own]) + times[own].tobytes() + numeric[own].tobytes())
    return [digest.hexdigest() for digest in hashes]
