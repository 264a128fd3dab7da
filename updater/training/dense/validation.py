"""The loss on the validation anchor, by which the weights are chosen that training ends with."""

# V profiles, Q questions

from collections.abc import Sequence
from datetime import date

import numpy as np
import torch

from updater.model.batch import Int64
from updater.training.dense.labels.table import DenseTable
from updater.training.dense.steps import read_step
from updater.training.dense.task import DenseTask

MOST_USERS = 512
MOST_QUESTIONS = 48
"""As many as are looked at, evenly spread."""


class Validation:
    """Asks the same questions in the same words of the same users of the validation anchor whenever it is called."""

    def __init__(self, table: DenseTable, users_per_pass: int, questions_per_pass: int) -> None:
        self._table = table
        sizes = [table.profiles[anchor].num_tokens(row) for anchor, row in table.valid]
        chosen = sorted(_spread(len(table.valid), MOST_USERS), key=lambda position: sizes[position])
        self._keys = [table.valid[position] for position in chosen]
        self._asked = _spread(len(table.questions), MOST_QUESTIONS)
        self._users, self._questions = users_per_pass, questions_per_pass

    @property
    def is_possible(self) -> bool:
        """True if there is a validation anchor with users."""
        return bool(self._keys)

    @torch.inference_mode()
    def loss(self, task: DenseTask, layers: bool) -> float:
        """Mean cross entropy of an embedding's own answers, in nats."""
        task.eval()
        total, count = 0.0, 0.0
        for keys in _parts(self._keys, self._users):
            for asked in np.array_split(self._asked, -(-len(self._asked) // self._questions)):
                step = read_step(self._table, keys, asked, asked)
                answers, _, known = task(step, layers)
                total += float(answers)
                count += float(known)
        task.train()
        return total / max(1.0, count)


def _spread(total: int, most: int) -> Int64:
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))


def _parts(keys: Sequence[tuple[date, int]], size: int) -> list[Sequence[tuple[date, int]]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]
