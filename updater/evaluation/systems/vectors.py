"""External systems: for each question and anchor a matrix of users by columns."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from updater.evaluation.metrics import Floats
from updater.evaluation.systems.compared import System, recency
from updater.evaluation.systems.costs import Cost
from updater.labels.tasks import Task, question
from updater.settings import Settings
from updater.store.scratch import Scratch


@dataclass(frozen=True, eq=False)
class UserVectors:
    """A vector of each user; whoever is not among them has zeros."""

    users: NDArray[np.str_]
    values: Floats
    """Shape (users, columns)."""


@dataclass(frozen=True)
class Vectors:
    """What a system knows: a function of a question's text and an anchor, which may know nothing after the anchor."""

    at: Callable[[str, date], UserVectors]
    cost: Cost | None = None


VectorsFactory = Callable[[], Vectors]
"""Called once, when all days of the evaluation have been landed and encoded."""


def vector_system(settings: Settings, name: str, vectors: Vectors, scratch: Scratch) -> System:
    """The vectors, and the column for recency that every system of embeddings gets."""

    def parts(task: Task, rows: pa.Table) -> tuple[Floats, ...]:
        asked = question(settings, task).query
        users, anchors = rows["user_id"].to_pylist(), rows["anchor"].to_pylist()
        known = {anchor: vectors.at(asked, anchor) for anchor in set(anchors)}
        place = {a: {user: row for row, user in enumerate(one.users.tolist())} for a, one in known.items()}
        width = next(iter(known.values())).values.shape[1] if known else 0
        matrix = np.zeros((len(users), width))
        for row, (user, anchor) in enumerate(zip(users, anchors, strict=True)):
            if (found := place[anchor].get(user)) is not None:
                matrix[row] = known[anchor].values[found]
        return matrix, recency(settings, scratch, rows)

    return System(name, parts, cost=vectors.cost)
