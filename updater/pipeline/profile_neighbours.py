"""What published embeddings say for a value: how much of it the users have whose embeddings lie nearest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from updater.domain import columns
from updater.domain.window import Window
from updater.profile.facets import CountedEvents
from updater.runtime.deployment import Context
from updater.state.embeddings import read_newest
from updater.state.lookup import Lookup

NUM_NEIGHBOURS = 25

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Neighbours:
    """The nearest of U users to each of them, never the user."""

    nearest_UK: npt.NDArray[np.int64]

    def scores(self, events: CountedEvents) -> Floats:
        """Share of each value among the nearest users' events of a modality, (U, values)."""
        counts = np.zeros((events.num_users, len(events.values)))
        np.add.at(counts, (events.user_N, events.value_N), 1)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        mean: Floats = shares[self.nearest_UK].mean(axis=1) if self.nearest_UK.shape[1] else np.zeros_like(shares)
        return mean


def nearest_users(context: Context, window: Window, users: Mapping[int, Sequence[str]]) -> Neighbours | None:
    """Neighbours by the embeddings of all scenarios, as they were published up to a window's end; None without a model.

    Args:
        context: the deployment.
        window: later rows are not read.
        users: by bucket; their places in the result are those among all of them, sorted.
    """
    live = context.ledger.live_model()
    if live is None:
        return None
    place = {user: row for row, user in enumerate(sorted(user for own in users.values() for user in own))}
    width, scenarios = context.settings.model.embedding_dim, context.settings.scenarios
    vectors = np.zeros((len(place), len(scenarios), width))
    until, lookup = window.as_of.replace(tzinfo=None), Lookup()
    for bucket, members in users.items():
        table = pa.table({columns.JOIN_KEY: pa.array(members, pa.string())})
        for position, scenario in enumerate(scenarios):
            root = context.layout.offline(columns.scenario_view(scenario.name, live.version))
            rows = read_newest(root, bucket, table, lookup=lookup, until=until)
            if rows.num_rows:
                at = [place[user] for user in rows[columns.JOIN_KEY].to_pylist()]
                flat = rows[columns.embedding(scenario.name)].combine_chunks().flatten().to_numpy()
                vectors[at, position] = flat.reshape(len(at), width)
    return neighbours(vectors.reshape(len(place), -1))


def neighbours(vectors_UE: Floats) -> Neighbours:
    """The `NUM_NEIGHBOURS` nearest of each user by cosine, fewer if there are not so many; ties by position."""
    lengths = np.linalg.norm(vectors_UE, axis=1, keepdims=True)
    unit = np.divide(vectors_UE, lengths, out=np.zeros_like(vectors_UE), where=lengths > 0)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    return Neighbours(np.argsort(-likeness, axis=1, kind="stable")[:, : min(NUM_NEIGHBOURS, len(unit) - 1)])
