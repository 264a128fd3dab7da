"""Questions as arrays, which readers answer: who is asked, the values of the options, and the right one."""

# Q questions, K options of the question with most of them, U users

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from updater.evaluation.metrics import Floats
from updater.evaluation.systems.vectors import UserVectors

Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
NO_OPTION = -1
"""Stands where a question has fewer options than the one with most of them, and for the choice of nobody."""
_LAST = np.uint64(2**64 - 1)


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions in the order of their table."""

    users: NDArray[np.str_]
    """Everybody who is asked, sorted."""
    values: tuple[str, ...]
    """What options say, each once."""
    slots: tuple[str, ...]
    texts: tuple[str, ...]
    """A slot's question in words."""
    user_Q: Int64
    """Positions among `users`."""
    slot_Q: Int64
    """Positions among `slots`."""
    subtask_Q: NDArray[np.str_]
    modality_Q: NDArray[np.str_]
    attribute_Q: NDArray[np.str_]
    options_QK: Int64
    """Positions among `values`, or `NO_OPTION`."""
    order_QK: NDArray[np.uint64]
    """Hashes of the options, of which the smallest is taken where options are equally good."""
    gold_Q: Int64
    touches_delta_Q: Bools
    train_Q: Bools

    @classmethod
    def of(cls, table: pa.Table) -> "Asked":
        """From a table of questions (`schema.QUESTIONS`)."""
        users, user_Q = _codes(table["user_id"].to_pylist())
        keys = list(zip(table["subtask"].to_pylist(), table["slot"].to_pylist(), strict=True))
        known = sorted(set(keys))
        place = {key: number for number, key in enumerate(known)}
        slot_Q = np.array([place[key] for key in keys], np.int64)
        texts = dict(zip(keys, table["text"].to_pylist(), strict=True))
        options = table["options"].to_pylist()
        values, flat = _codes([value for each in options for value in each])
        width = max(map(len, options), default=0)
        taken_QK = np.arange(width) < np.array([len(each) for each in options], np.int64).reshape(-1, 1)
        options_QK = np.full(taken_QK.shape, NO_OPTION, np.int64)
        options_QK[taken_QK] = flat
        order_QK = np.full(taken_QK.shape, _LAST)
        ids = table["question_id"].to_pylist()
        order_QK[taken_QK] = [_hash(ids[q], value) for q, each in enumerate(options) for value in each]
        return cls(
            users=np.array(users, str),
            values=tuple(values),
            slots=tuple(slot for _, slot in known),
            texts=tuple(texts[key] for key in known),
            user_Q=user_Q,
            slot_Q=slot_Q,
            subtask_Q=np.array(table["subtask"].to_pylist(), str),
            modality_Q=np.array(table["modality"].to_pylist(), str),
            attribute_Q=np.array(table["attribute"].to_pylist(), str),
            options_QK=options_QK,
            order_QK=order_QK,
            gold_Q=table["gold"].to_numpy().astype(np.int64),
            touches_delta_Q=np.asarray(pc.fill_null(table["touches_delta"], False)),
            train_Q=np.asarray(table["train"]),
        )

    def __len__(self) -> int:
        return len(self.gold_Q)

    @cached_property
    def slot_rows(self) -> list[Int64]:
        """The questions of each slot."""
        order = np.argsort(self.slot_Q, kind="stable")
        ends = np.searchsorted(self.slot_Q[order], np.arange(1, len(self.slots)))
        return [np.sort(rows) for rows in np.split(order, ends)]

    @property
    def gold_values_Q(self) -> Int64:
        """The right values, as positions among `values`."""
        return self.options_QK[np.arange(len(self)), self.gold_Q]

    def take(self, chosen: Bools) -> "Asked":
        """Some of the questions; users, slots and values keep their places."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        of_questions = {name: part[chosen] for name, part in parts.items() if name.endswith(("_Q", "_QK"))}
        return Asked(**{**parts, **of_questions})

    def matrix(self, vectors: UserVectors) -> Floats:
        """The vectors of `users`, shape (U, columns); zeros for whoever has none."""
        place = {user: row for row, user in enumerate(vectors.users.tolist())}
        rows = np.array([place.get(user, -1) for user in self.users.tolist()], np.int64)
        matrix = np.zeros((len(rows), vectors.values.shape[1]))
        matrix[rows >= 0] = vectors.values[rows[rows >= 0]]
        return matrix

    def choose(self, rows: Int64, scores: Floats) -> Int64:
        """The option with the largest score of each question at `rows`; of equal ones that with the smallest hash.

        Args:
            rows: positions of questions.
            scores: of their options, (rows, K).
        """
        real = self.options_QK[rows] != NO_OPTION
        scores = np.where(real, scores, -np.inf)
        best = real & (scores == scores.max(axis=1, keepdims=True))
        chosen: Int64 = np.where(best, self.order_QK[rows], _LAST).argmin(axis=1)
        return chosen


def _codes(values: Iterable[str]) -> tuple[list[str], Int64]:
    """The distinct values, sorted, and each value's position among them."""
    listed = list(values)
    known = sorted(set(listed))
    place = {value: number for number, value in enumerate(known)}
    return known, np.array([place[value] for value in listed], np.int64)


def _hash(question: str, option: str) -> int:
    digest = blake2b(f"{question}\0{option}".encode(), digest_size=8).digest()
    # The largest number stands for no option.
    return int.from_bytes(digest, "big") >> 1
