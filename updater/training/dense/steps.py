"""What each step asks of whom: a pure function of seed, stage and step."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor

from updater.domain.declared.training import Training
from updater.model.batch import Int64, UserBatch
from updater.training.dense.labels.table import DenseTable
from updater.training.steps.distributed import Rank
from updater.training.steps.order import profiles_of_step

MOST_WORDINGS = 60
"""A multiple of the number of wordings that any question has."""


@dataclass(frozen=True)
class Step:
    """Users of one anchor day, the questions that all of them are asked, and the answers."""

    batch: UserBatch
    asked_S: Int64
    queries: tuple[str, ...]
    """The S questions in words."""
    answers_BSK: Tensor
    known_BS: Tensor
    priors_SK: Tensor
    """Log odds of the answers at this anchor day."""


def questions_of_step(table: DenseTable, options: Training, stage: int, step: int) -> Int64:
    """Positions of a step's questions, sorted: `training.counted_questions` that count days, and others."""
    rng = np.random.default_rng((options.seed, stage, step, 2))
    counted = rng.permutation(table.num_counted)
    others = rng.permutation(np.arange(table.num_counted, len(table.questions)))
    wanted = min(options.questions_per_step, len(table.questions))
    # If there are too few of one kind, the other kind makes up for it.
    num_counted = max(min(options.counted_questions, len(counted), wanted), wanted - len(others))
    return np.sort(np.concatenate([counted[:num_counted], others[: wanted - num_counted]]))


def make_step(table: DenseTable, options: Training, size: int, stage: int, step: int, rank: Rank) -> Step:
    """This process's share of a step of `size` users."""
    keys = table.train
    positions = profiles_of_step(keys, table.sizes, size, options.seed + stage, step)[rank.share(size)]
    asked = questions_of_step(table, options, stage, step)
    wordings = np.random.default_rng((options.seed, stage, step, 3)).integers(0, MOST_WORDINGS, len(asked))
    return read_step(table, [keys[position] for position in positions], asked, wordings)


def read_step(table: DenseTable, keys: Sequence[tuple[date, int]], asked: Int64, wordings: Int64) -> Step:
    """Some profiles of one anchor day, asked in the `wordings`, of which there may be more than a question has."""
    texts = [table.questions[number].texts for number in asked]
    queries = tuple(known[wording % len(known)] for known, wording in zip(texts, wordings, strict=True))
    anchor, rows = keys[0][0], np.array([row for _, row in keys], dtype=np.int64)
    answers, known = table.targets(anchor, rows, asked)
    return Step(
        table.profiles[anchor].batch(rows),
        asked,
        queries,
        torch.from_numpy(answers),
        torch.from_numpy(known),
        torch.from_numpy(table.priors(anchor)[asked]),
    )
