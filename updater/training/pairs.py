"""Question-answer pairs of UserU as tokens, and which of them each step learns from.

The order is a pure function of seed and step, so training that goes on from a checkpoint sees what it would have seen.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from updater.domain.training import Training
from updater.errors import ConfigError
from updater.model.batch import Int64, UserBatch
from updater.model.user_model import UserModel
from updater.training.profiles import Profiles
from updater.training.towers import Fact, Pairs
from updater.training.useru.rows import FOCUS_GENERATOR

STRETCH = 16
"""Steps of users that are sorted by length together."""
FEWEST_PAIRS = 2
"""A profile with fewer pairs teaches nothing about questions."""
NOBODY = np.empty(0, dtype=np.int64)


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
    choices: Mapping[int, Counter[int]]
    """Per shared question, as in `question`, how often each answer was given to it, over users and anchor days."""
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
    choices: dict[int, Counter[int]] = {}
    for pair in (pair for key in keys for pair in shared.get(key, none)):
        choices.setdefault(questions[pair], Counter())[answers[pair]] += 1
    return PairTable(
        profiles=profiles,
        keys=tuple(keys),
        shared=tuple(np.array(shared.get(key, none), dtype=np.int64) for key in keys),
        own=tuple(np.array(own.get(key, none), dtype=np.int64) for key in keys),
        question=np.array(questions, dtype=np.int64),
        answer=np.array(answers, dtype=np.int64),
        choices=choices,
        tokens=tuple(encoder.tokens),
        sizes=np.array([profiles[anchor].num_tokens(row) for anchor, row in keys], dtype=np.int64),
    )


def users_of_step(table: PairTable, options: Training, step: int) -> Int64:
    """The profiles of a step, over all processes: of one anchor day and of like length; every epoch takes each once."""
    size = options.users_per_step
    ends = np.flatnonzero([*(a != b for (a, _), (b, _) in pairwise(table.keys)), True]) + 1
    per_epoch = sum(length // size for length in np.diff([0, *ends]))
    epoch, place = divmod(step, max(1, per_epoch))
    rng = np.random.default_rng((options.seed, epoch))
    groups: list[Int64] = []
    for start, end in pairwise([0, *ends]):
        order = rng.permutation(np.arange(start, end))
        # Sorted within stretches of the order only, or a profile would meet the same ones in every epoch.
        for first in range(0, len(order) - size + 1, size * STRETCH):
            part = order[first : first + size * STRETCH]
            part = part[np.argsort(table.sizes[part], kind="stable")]
            groups += [part[k : k + size] for k in range(0, len(part) - size + 1, size)]
    if not groups:
        raise ConfigError(
            f"No anchor day has {size} profiles to train on, as many as training.users_per_step; lower it, or build "
            "more training data."
        )
    group: Int64 = groups[rng.permutation(len(groups))[place % len(groups)]]
    return group


def further_users(table: PairTable, row: int, options: Training, step: int) -> Int64:
    """More profiles of the anchor day of that at `row`, over all processes; none if no facts are asked for."""
    anchor, _ = table.keys[row]
    start, end = (bisect_left(table.keys, (day, 0)) for day in (anchor, anchor + timedelta(days=1)))
    wanted = min(options.further_users, end - start) if options.facts_per_step else 0
    return np.random.default_rng((options.seed, step, 1)).choice(np.arange(start, end), wanted, replace=False)


def pairs_of_step(
    table: PairTable, rows: Int64, options: Training, step: int, further: Int64 = NOBODY
) -> tuple[UserBatch, Pairs]:
    """The model's input and the pairs of the profiles at `rows` in a step; `further` profiles only tell its facts.

    All are of one anchor day.
    """
    profiles = table.profiles[table.keys[rows[0]][0]]
    batch = profiles.batch(_places(table, rows))
    chosen = np.array([_choose(table, int(row), options, step) for row in rows])
    facts = _facts(table, np.concatenate([rows, further]), options, step)
    asked, own = table.question[chosen], table.answer[chosen]
    choices = {question: table.choices[question] for question in np.unique(asked).tolist() if question in table.choices}
    told = [answer for question in {*choices, *facts} for answer in table.choices[question]]
    distinct = np.unique([*own.ravel().tolist(), *told])
    answer_BK = np.searchsorted(distinct, own)
    log_shares_BKA = np.full((*own.shape, len(distinct)), -np.inf, dtype=np.float32)
    np.put_along_axis(log_shares_BKA, answer_BK[:, :, None], 0.0, axis=2)
    with np.errstate(divide="ignore"):
        log_shares = {question: np.log(_shares(table.choices[question], distinct)) for question in {*choices, *facts}}
    for question in choices:
        log_shares_BKA[asked == question] = log_shares[question]
    rng = np.random.default_rng((options.seed, step))
    predicted = np.zeros(chosen.shape, dtype=bool)
    predicted[:, rng.permutation(chosen.shape[1])[: options.predicted_pairs]] = True
    pairs = Pairs(
        questions=[[table.tokens[question] for question in row] for row in asked],
        question_BK=asked,
        answers=[table.tokens[position] for position in distinct],
        answer_ids=distinct,
        answer_BK=answer_BK,
        log_shares_BKA=log_shares_BKA,
        predicted_BK=predicted,
        facts=[_fact(question, answers_G, log_shares[question], distinct) for question, answers_G in facts.items()],
        further=profiles.overview(_places(table, further)) if len(further) else None,
    )
    return batch, pairs


def _facts(table: PairTable, rows: Int64, options: Training, step: int) -> dict[int, Int64]:
    """Per shared question of the step, asked or not, the answer of each profile at `rows`; -1 for one without it.

    Which they are follows from the step and its anchor day alone.
    """
    shared = [table.shared[row] for row in rows]
    longest = max(shared, key=len)
    facts = {}
    for place in np.random.default_rng((options.seed, step)).permutation(len(longest))[: options.facts_per_step]:
        question = int(table.question[longest[place]])
        facts[question] = np.array(
            [
                table.answer[pairs[place]] if len(pairs) > place and table.question[pairs[place]] == question else -1
                for pairs in shared
            ],
            dtype=np.int64,
        )
    return facts


def _fact(question: int, answers_G: Int64, log_shares_A: npt.NDArray[np.float64], distinct: Int64) -> Fact:
    choices_C = np.flatnonzero(np.isfinite(log_shares_A))
    own_G = np.where(answers_G >= 0, np.searchsorted(distinct[choices_C], answers_G), -1)
    return Fact(question, choices_C, log_shares_A[choices_C].astype(np.float32), own_G)


def _places(table: PairTable, rows: Int64) -> Int64:
    """Rows in the profiles of their anchor day."""
    return np.array([table.keys[row][1] for row in rows], dtype=np.int64)


def _shares(given: Counter[int], answers: Int64) -> npt.NDArray[np.float64]:
    """How often each of `answers` was given."""
    shares: npt.NDArray[np.float64] = np.array([given[answer] for answer in answers.tolist()]) / given.total()
    return shares


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


def standardization(profiles: Sequence[Profiles], modality: int) -> tuple[npt.NDArray[np.float64], ...]:
    """Mean and standard deviation of a modality's numeric columns over the events of `profiles`."""
    numeric = np.concatenate([known.events[modality].numeric_NC for known in profiles])
    if not len(numeric):
        return np.zeros(numeric.shape[1]), np.ones(numeric.shape[1])
    return numeric.mean(axis=0), np.maximum(numeric.std(axis=0), 1e-3)
