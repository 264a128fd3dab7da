"""The loss on the validation anchor, by which the weights are chosen that training ends with."""

# V profiles, Q questions

from collections.abc import Sequence
from datetime import date
from functools import cached_property

import numpy as np
import torch

from updater.model.batch import Int64
from updater.training.dense.labels.table import DenseTable
from updater.training.dense.steps import Step, read_step
from updater.training.dense.task import DenseTask
from updater.training.steps.distributed import Rank, deal_out

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
    def loss(self, task: DenseTask, layers: bool, rank: Rank) -> float:
        """Mean cross entropy of an embedding's own answers, in nats, the same to the bit for any number of processes.

        Each of the processes that train together makes some of the passes; all of them call this.
        """

        def sums(step: Step) -> tuple[float, float]:
            answers, _, known = task(step, layers)
            return float(answers), float(known)

        task.eval()
        total, count = 0.0, 0.0
        for answers, known in deal_out(sums, self._steps, rank):
            total += answers
            count += known
        task.train()
        return total / max(1.0, count)

    @cached_property
    def _steps(self) -> list[Step]:
        questions = np.array_split(self._asked, -(-len(self._asked) // self._questions))
        parts = _parts(self._keys, self._users)
        return [read_step(self._table, keys, asked, asked) for keys in parts for asked in questions]


def _spread(total: int, most: int) -> Int64:
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))


def _parts(keys: Sequence[tuple[date, int]], size: int) -> list[Sequence[tuple[date, int]]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]
