"""Question-answer pairs of UserU as tokens, and which of them each step learns from.

The order is a pure function of seed and step, so training that goes on from a checkpoint sees what it would have seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from updater.domain.declared.training import Training
from updater.model.batch import Int64, UserBatch
from updater.model.user_model import UserModel
from updater.training.paper.towers import Pairs
from updater.training.profiles import Profiles
from updater.training.steps.order import profiles_of_step
from updater.training.useru.rows import FOCUS_GENERATOR

FEWEST_PAIRS = 2
"""A profile with fewer pairs teaches nothing about questions."""


@dataclass(frozen=True)
class PairTable:
    """All pairs, grouped by profile. Texts are held once."""

    profiles: Mapping[date, Profiles]
    keys: tuple[tuple[date, int], ...]
    """Anchor day and row in its profiles, per profile with pairs."""
    shared: tuple[Int64, ...]
    """Per profile its pairs whose questions all users of its anchor day are asked: positions in `question`."""
    own: tuple[Int64, ...]
    """Per profile its other pairs."""
    question: Int64
    """Per pair the question's position in `tokens`."""
    answer: Int64
    tokens: tuple[tuple[int, ...], ...]
    """Token ids of the distinct questions and answers."""
    sizes: Int64
    """Event tokens of each profile, by which users of like length share a step."""

    @property
    def vocabulary(self) -> Int64:
        """Ids of all tokens that occur in answers, sorted."""
        ids: set[int] = set()
        for position in np.unique(self.answer):
            ids.update(self.tokens[position])
        return np.array(sorted(ids), dtype=np.int64)


def read_pairs(
    rows: pa.Table, profiles: Mapping[date, Profiles], model: UserModel, options: Training, left_out: set[str]
) -> PairTable:
    """Tokenize the rows of UserU whose users have a profile and are not `left_out`."""
    encoder = _Encoder(model)
    shared: dict[tuple[date, int], list[int]] = {}
    own: dict[tuple[date, int], list[int]] = {}
    places = {
        anchor: {user: row for row, user in enumerate(known.users.tolist())} for anchor, known in profiles.items()
    }
    columns = ("user_id", "anchor_day", "generator", "question", "answer")
    questions: list[int] = []
    answers: list[int] = []
    for user, anchor, generator, question, answer in zip(*(rows[name].to_pylist() for name in columns), strict=True):
        place = places.get(anchor, {}).get(user)
        if place is None or user in left_out:
            continue
        about = shared if generator == FOCUS_GENERATOR else own
        about.setdefault((anchor, place), []).append(len(questions))
        questions.append(encoder.position(question, options.max_question_tokens))
        answers.append(encoder.position(answer, options.max_answer_tokens))
    none: list[int] = []
    found = sorted({*shared, *own})
    keys = [key for key in found if len(shared.get(key, none)) + len(own.get(key, none)) >= FEWEST_PAIRS]
    return PairTable(
        profiles=profiles,
        keys=tuple(keys),
        shared=tuple(np.array(shared.get(key, none), dtype=np.int64) for key in keys),
        own=tuple(np.array(own.get(key, none), dtype=np.int64) for key in keys),
        question=np.array(questions, dtype=np.int64),
        answer=np.array(answers, dtype=np.int64),
        tokens=tuple(encoder.tokens),
        sizes=np.array([profiles[anchor].num_tokens(row) for anchor, row in keys], dtype=np.int64),
    )


def users_of_step(table: PairTable, options: Training, step: int) -> Int64:
    """The profiles of a step, over all processes."""
    return profiles_of_step(table.keys, table.sizes, options.users_per_step, options.seed, step)


def pairs_of_step(table: PairTable, rows: Int64, options: Training, step: int) -> tuple[UserBatch, Pairs]:
    """The model's input and the pairs of the profiles at `rows` in a step; all are of one anchor day."""
    batch = table.profiles[table.keys[rows[0]][0]].batch(_places(table, rows))
    chosen = np.array([_choose(table, int(row), options, step) for row in rows])
    asked, own = table.question[chosen], table.answer[chosen]
    distinct = np.unique(own)
    rng = np.random.default_rng((options.seed, step))
    predicted = np.zeros(chosen.shape, dtype=bool)
    predicted[:, rng.permutation(chosen.shape[1])[: options.predicted_pairs]] = True
    pairs = Pairs(
        questions=[[table.tokens[question] for question in row] for row in asked],
        question_BK=asked,
        answers=[table.tokens[position] for position in distinct],
        answer_ids=distinct,
        answer_BK=np.searchsorted(distinct, own),
        predicted_BK=predicted,
    )
    return batch, pairs


def _places(table: PairTable, rows: Int64) -> Int64:
    """Rows in the profiles of their anchor day."""
    return np.array([table.keys[row][1] for row in rows], dtype=np.int64)


def _choose(table: PairTable, row: int, options: Training, step: int) -> list[int]:
    """As many pairs of a profile as a step takes; short of pairs, some come twice.

    Which shared questions are asked follows from the step alone, so that all of its users are asked the same.
    """
    rng = np.random.default_rng((options.seed, step, row))
    shared, own = table.shared[row], rng.permutation(table.own[row])
    wanted = options.pairs_per_user
    num_shared = min(len(shared), max(round(wanted * options.future_share), wanted - len(own)))
    asked = np.random.default_rng((options.seed, step)).permutation(len(shared))[:num_shared]
    chosen = np.concatenate([shared[asked], own[: wanted - num_shared]])
    if short := wanted - len(chosen):
        chosen = np.concatenate([chosen, rng.choice(chosen, short)])
    pairs: list[int] = chosen.tolist()
    return pairs


class _Encoder:
    """Tokenizes each distinct text once."""

    def __init__(self, model: UserModel) -> None:
        self._model = model
        self._known: dict[tuple[str, int], int] = {}
        self.tokens: list[tuple[int, ...]] = []

    def position(self, text: str, limit: int) -> int:
        if (text, limit) not in self._known:
            self._known[text, limit] = len(self.tokens)
            self.tokens.append(tuple(self._model.token_ids(text)[:limit]))
        return self._known[text, limit]
