"""What is compared: the product's embeddings, the same in other states, and what keeps less of a user on purpose."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from updater.evaluation.metrics import Floats
from updater.evaluation.systems.vectors import UserVectors

SYSTEMS: Final[Mapping[str, str]] = {
    "published": "the embeddings of all scenarios as the live model published them, one after the other",
    "candidate": "the same of another model version, computed from the same events",
    "rebuilt": "the live model's, computed anew from all buffered events",
    "stale": "the rows as they were published a day before",
    "text": "the mean text vector of the user's events",
    "counts": "counts of the user's events, by modality and by value of its category",
    "last_8": "the same counts of the last 8 events",
    "last_32": "the same counts of the last 32 events",
    "last_128": "the same counts of the last 128 events",
    "shuffled": "the published rows, dealt out to other users",
    "random": "random numbers",
    "asked": "the live model asked about each option: the same user state, a question for each",
    "asked_counts": "counts of the option itself, in the last 8, 32 and 128 events and in all, read in the same way",
    "asked_text": "the mean text vector, compared with the option's along every axis, read in the same way",
    "native": "the live model asked about each option: what training learned of its yes, and how often it is right",
    "prior": "no user: the option that was right most often for the users that readers are fitted to",
}
"""All, in the order of the reports."""
PRIOR: Final = "prior"
"""The system that every other one is compared with."""
NEWEST: Final = (8, 32, 128)
RANDOM_COLUMNS = 128

SystemFactory = Callable[[pa.Table], UserVectors]
"""Makes the vectors of a system that is none of this project, from the questions' table; it may learn from the users
that `train` names, and know nothing after the day that is asked about.
"""


def shuffled(matrix: Floats, seed: int) -> Floats:
    """The same rows in another order."""
    moved: Floats = matrix[np.random.default_rng(seed).permutation(len(matrix))]
    return moved


def random(num_users: int, seed: int) -> Floats:
    """Normal numbers, which know nothing."""
    numbers: Floats = np.random.default_rng(seed).standard_normal((num_users, RANDOM_COLUMNS))
    return numbers
