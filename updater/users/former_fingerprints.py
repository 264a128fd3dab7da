"""Prefix fingerprints as they were made before. A user who has not changed since keeps such a row, which is right."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from updater.state.summaries import Summaries
from updater.users.event_batches import UserEvents


def second_fingerprints(
    events: Sequence[UserEvents], summaries: Sequence[Summaries], users: npt.NDArray[np.int64]
) -> list[str]:
    """Of summaries, newest events, and all texts. `summaries` are those of `users`, in the same order."""
    hashes = [blake2b(digest_size=16) for _ in users]
    last = np.stack([summary.last_event_B for summary in summaries])
    newest_B = np.nan_to_num(np.fmax.reduce(last, axis=0)) if len(users) else np.zeros(0)
    for event, summary in zip(events, summaries, strict=True):
        rows, offsets = event.rows_of(users, event.modality.max_events)
        all_rows, all_offsets = event.rows_of(users)
        times, first_B, last_B = event.times_N[rows], summary.first_event_B, summary.last_event_B
        if event.modality.kind == "snapshot":
            times = np.repeat(newest_B, np.diff(offsets))
            first_B = last_B = np.where(summary.num_events_B > 0, newest_B, 0.0)
        bounds_B2 = np.nan_to_num(np.stack([first_B, last_B], axis=1))
        numeric, of_events = event.numeric_NC[rows], event.text_rows_N[all_rows]
        for b, digest in enumerate(hashes):
            own, every = slice(offsets[b], offsets[b + 1]), slice(*all_offsets[b : b + 2])
            scalars = [summary.num_events_B[b], *bounds_B2[b], own.stop - own.start]
            digest.update(np.array(scalars, np.float64).tobytes() + summary.num_recent_BR[b].tobytes())
            digest.update(summary.mean_BV[b].tobytes() + times[own].tobytes() + numeric[own].tobytes())
            digest.update(b"".join(event.text_ids[row] for row in of_events[every]))
    return [f"2-{digest.hexdigest()}" for digest in hashes]


def first_fingerprints(
    events: Sequence[UserEvents], summaries: Sequence[Summaries], users: npt.NDArray[np.int64]
) -> list[str]:
    """Before they had a version: of number, mean and newest events only."""
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
