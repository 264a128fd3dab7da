"""Look-alikes: users whose embedding for a scenario points where one user's does."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from updater.domain import columns
from updater.domain.buckets import bucket_of
from updater.domain.window import Window
from updater.errors import ConfigError, NotFoundError, NothingCommittedError
from updater.pipeline.asking.active_users import active_users
from updater.pipeline.asking.nearest import Vectors, nearest
from updater.pipeline.user_ids import state_ids
from updater.runtime.deployment import Context, Progress, no_progress
from updater.state.embeddings import read_newest


@dataclass(frozen=True)
class LookAlike:
    """A user beside the one who was asked about."""

    user_id: str
    """As the state knows the user: the lake's id, or its pseudonym."""
    cosine: float


@dataclass(frozen=True)
class SimilarReport:
    """Users with the most similar embeddings."""

    user_id: str
    scenario: str
    as_of: str
    """Instant (UTC) up to which everything known is in the embeddings: the end of the newest committed window."""
    model: str
    trained: bool
    num_compared: int
    """Users with whom the user was compared."""
    look_alikes: list[LookAlike]
    """Largest cosine first; of equal ones the smaller id first."""


def similar_users(
    context: Context, user_id: str, scenario: str, top: int, progress: Progress = no_progress
) -> SimilarReport:
    """The `top` users whose embeddings have the largest cosine to that of `user_id`, a source id.

    Exact, over the newest published row of everybody who has an event in the buffer, by the live model; a bucket's rows
    are in memory at a time. Neither the model nor the online store is asked.

    Raises:
        ConfigError: `top` is not positive.
        NotFoundError: the user has no such row or was erased, or the scenario is unknown.
        NothingCommittedError: no window is committed.
    """
    if top < 1:
        raise ConfigError(f"top is {top}; ask for one look-alike or more.")
    settings = context.settings
    settings.scenario(scenario)
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError("No window is committed yet, so nothing is published; run `updater run --ds …`.")
    rows = _Published(context, scenario, context.window(watermark))
    (user,) = state_ids(context, [user_id])
    vector_E = rows.of(user)
    compared = _Others(rows, user, progress)
    found = nearest(compared, vector_E, top)
    model = context.live_model()
    return SimilarReport(
        user_id=user,
        scenario=scenario,
        as_of=rows.window.as_of.isoformat(),
        model=model.name,
        trained=model.trained,
        num_compared=compared.count,
        look_alikes=[LookAlike(other, cosine) for other, cosine in found],
    )


class _Published:
    """Newest rows of a scenario's view of the live model at the end of a window."""

    def __init__(self, context: Context, scenario: str, window: Window) -> None:
        self.context, self.window = context, window
        self._root = context.layout.offline(columns.scenario_view(scenario, context.live_model().version))
        self._column = columns.embedding(scenario)
        self._scenario = scenario

    def vectors(self, bucket: int, users: list[str]) -> Vectors:
        """Those of `users`, who are in `bucket`, who have a row."""
        wanted = pa.table({columns.JOIN_KEY: pa.array(users, pa.string())})
        table = read_newest(self._root, bucket, wanted, until=self.window.as_of.replace(tzinfo=None))
        if not table.num_rows:
            return [], np.zeros((0, 0), np.float32)
        vectors: npt.NDArray[np.float32] = table[self._column].combine_chunks().flatten().to_numpy()
        return table[columns.JOIN_KEY].to_pylist(), vectors.reshape(table.num_rows, -1)

    def of(self, user: str) -> npt.NDArray[np.float32]:
        """A user's. Raises NotFoundError."""
        if user in self.context.ledger.erased():
            raise NotFoundError(f"User {user!r} was erased and stays out of the state.", kind="user", name=user)
        bucket = bucket_of(user, self.context.settings.buffer.num_buckets)
        active = [users for _, users in active_users(self.context, self.window.ds, bucket) if user in users]
        users, vectors = self.vectors(bucket, [user] if active else [])
        if not users:
            raise NotFoundError(
                f"User {user!r} has no event in the {self.context.settings.buffer.days} days up to {self.window}, or "
                f"no embedding for {self._scenario!r}; check the id, or run the windows that have the user's rows.",
                kind="user",
                name=user,
            )
        vector: npt.NDArray[np.float32] = vectors[0]
        return vector


class _Others:
    """Everybody's vectors but one user's, bucket by bucket."""

    def __init__(self, rows: _Published, user: str, progress: Progress) -> None:
        self._rows, self._user, self._progress = rows, user, progress
        self.count = 0
        """Users so far."""

    def __iter__(self) -> Iterator[Vectors]:
        num_buckets = self._rows.context.settings.buffer.num_buckets
        for bucket, users in active_users(self._rows.context, self._rows.window.ds):
            others = [user for user in users if user != self._user]
            found = self._rows.vectors(bucket, others)
            self.count += len(found[0])
            self._progress("comparing users", bucket + 1, num_buckets)
            yield found
