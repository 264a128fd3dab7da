"""One user without some of the events: as if they had never been, so every number follows from the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from updater.model.batch import UserBatch
from updater.users.event_batches import UserEvents, user_batch

Int64 = npt.NDArray[np.int64]
Embed = Callable[[UserBatch], npt.NDArray[np.float32]]
"""Embeddings of B users, shape (B, E)."""


@dataclass(frozen=True)
class Unit:
    """Some events of a user in one modality, which are left out together."""

    modality: int
    """Position of the modality."""
    rows: tuple[int, ...]
    """Positions among the user's events in it."""


def modality_units(events: Sequence[UserEvents]) -> list[Unit]:
    """All events of each modality that has any."""
    counts = [int(event.num_events_U[0]) for event in events]
    return [Unit(m, tuple(range(count))) for m, count in enumerate(counts) if count]


def text_units(events: Sequence[UserEvents]) -> list[Unit]:
    """All events with the same text in a modality that has texts, those with most events first."""
    found = [
        Unit(m, tuple(np.flatnonzero(event.text_rows_N == text).tolist()))
        for m, event in enumerate(events)
        if event.modality.text
        for text in np.unique(event.text_rows_N)
    ]
    return sorted(found, key=lambda unit: -len(unit.rows))


def event_units(events: Sequence[UserEvents]) -> list[Unit]:
    """Each event, the newest first; those of snapshots, which have no times, at the end."""
    found = [
        (-np.inf if np.isnan(time) else time, Unit(m, (row,)))
        for m, event in enumerate(events)
        for row, time in enumerate(event.times_N)
    ]
    return [unit for _, unit in sorted(found, key=lambda pair: -pair[0])]


def embeddings_without(
    events: Sequence[UserEvents], units: Sequence[Unit], embed: Embed, batch_size: int
) -> Iterator[npt.NDArray[np.float32]]:
    """The user's embedding without each unit, in their order, `batch_size` at a time: arrays of shape (units, E).

    Args:
        events: the buffered events of one user, per modality.
        units: what is left out, one after the other.
        embed: the model and the question.
        batch_size: users in a call of the model; does not change the result.
    """
    for start in range(0, len(units), batch_size):
        left_out = units[start : start + batch_size]
        variants = [_without(event, m, left_out) for m, event in enumerate(events)]
        yield embed(user_batch(variants, np.arange(len(left_out))))


def _without(events: UserEvents, modality: int, units: Sequence[Unit]) -> UserEvents:
    """A modality of one user per unit, who has all events but the unit's."""
    everything = np.arange(len(events.times_N))
    kept = [np.delete(everything, unit.rows) if unit.modality == modality else everything for unit in units]
    rows = np.concatenate(kept).astype(np.int64)
    return replace(
        events,
        offsets_U1=np.cumsum([0, *map(len, kept)]).astype(np.int64),
        times_N=events.times_N[rows],
        local_N=events.local_N[rows],
        text_rows_N=events.text_rows_N[rows],
        values_NC=events.values_NC[rows],
        said=None,
    )
