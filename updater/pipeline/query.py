"""Embeddings and answers for any question, from the stored state.

No window is run, nothing is written to the state, Feast is not touched. One user or many, there is one way: a batch of
users is read and embedded, and a user's values do not depend on the others of the batch.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from updater.domain.buckets import bucket_of
from updater.domain.window import Window
from updater.errors import ConfigError, NotFoundError, NothingCommittedError
from updater.lake.pseudonyms import known_id
from updater.ledger import ModelRecord
from updater.model.batch import UserBatch
from updater.pipeline.daily.bucket_values import read_buffer
from updater.pipeline.user_ids import state_ids
from updater.runtime.deployment import Context, Progress, no_progress, open_context
from updater.runtime.process_pool import ProcessPool, open_session
from updater.runtime.session import Session
from updater.settings import Settings
from updater.users.event_batches import user_batch

Item = TypeVar("Item")

USERS_PER_READ = 4096
"""Users whose events are read together, by one process."""
NAMED_USERS = 20
"""Users without an embedding that a sentence names."""
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """What is asked: any question, or the query of a scenario after its soft prompt."""

    query: str
    scenario: str | None


@dataclass(frozen=True)
class Answers:
    """What the model gives for a question, of U users."""

    users: list[str]
    embeddings_UE: Float32
    """L2-normalized."""
    answer_U: Float32
    """Log odds of the first answer, whether it will happen at all, less those among all users.

    NaN for a scenario, whose prompt changes what is read, and from a model that was not trained to answer.
    """

    @property
    def embeddings(self) -> list[list[float]]:
        """One list per user."""
        return cast("list[list[float]]", self.embeddings_UE.tolist())

    @property
    def told(self) -> list[float | None]:
        """The answers, None where there is none."""
        return [None if math.isnan(answer) else answer for answer in self.answer_U.tolist()]


@dataclass(frozen=True)
class EmbedReport:
    """One embedding, and what it rests on."""

    user_id: str
    """As the state knows the user: the lake's id, or its pseudonym."""
    query: str
    scenario: str | None
    as_of: str
    """Instant (UTC) up to which everything known is in it: the end of the newest committed window."""
    model: str
    trained: bool
    embedding: list[float]
    """L2-normalized, float32."""
    answer: float | None
    """How likely the yes is, as log odds less those among all users, float32; None where the model tells none."""


class Query:
    """A question to the live model about users, as of the newest committed window.

    Args:
        context: the deployment.
        query: any question.
        scenario: instead of a question, a scenario of the config: its query, after its soft prompt if it has one. For
            a user that the newest window changed the answer is the published embedding, to the bit.

    Raises:
        ConfigError: not exactly one of `query` and `scenario` is given.
        NotFoundError: the scenario does not exist.
        NothingCommittedError: no window is committed.
    """

    def __init__(self, context: Context, query: str | None, scenario: str | None) -> None:
        self._context = context
        self.question = _question(context.settings, query, scenario)
        watermark = context.ledger.watermark()
        if watermark is None:
            raise NothingCommittedError("No window is committed yet, so nothing is known; run `updater run --ds …`.")
        self.window = context.window(watermark)
        self.model = context.live_model()
        self.erased: list[str] = []
        """Users who were asked about and had been erased."""
        self.unknown: list[str] = []
        """Users who were asked about and have no event in the buffer."""

    def answers(
        self, user_ids: Sequence[str], pool: ProcessPool, progress: Progress = no_progress
    ) -> Iterator[Answers]:
        """Ask about users, by their source ids.

        Yields answers about those who are known, by the ids of the state, a batch at a time, in the order of bucket and
        id: memory does not follow the number of users. Raises ConfigError for an impossible id.
        """
        settings = self._context.settings
        wanted = state_ids(self._context, user_ids)
        self.erased = sorted(self._context.ledger.erased().among(wanted))
        gone = set(self.erased)
        buckets = {user: bucket_of(user, settings.buffer.num_buckets) for user in wanted if user not in gone}
        ordered = sorted(buckets, key=lambda user: (buckets[user], user))
        per_job = max(1, min(USERS_PER_READ, -(-len(ordered) // pool.num_processes)))
        jobs = (self.job(users) for users in batches(ordered, per_job))
        done = 0
        # Results wait until they are taken: no more jobs are submitted than run at once.
        for wave in batches(jobs, pool.num_processes):
            found: dict[int, Answers] = {}
            for index, answers in pool.map(answer_users, wave):
                found[index] = answers
                done += len(wave[index][-1])
                progress("embedding users", done, len(ordered))
            # In the order of the users, whichever process was the first to be done.
            for index, answers in sorted(found.items()):
                self.unknown += sorted(set(wave[index][-1]) - set(answers.users))
                yield answers

    def job(self, users: list[str]) -> tuple[Any, ...]:
        """Arguments of `answer_users` for users by their ids of the state."""
        return self._context.settings, self._context.now, self.model, self.window.ds, self.question, users

    def missing(self) -> str:
        """A sentence about users who have no embedding; empty if all have one."""
        parts = []
        if self.unknown:
            why = (
                f"no stream event in the {self._context.settings.buffer.days} days up to {self.window} and no snapshot"
            )
            parts.append(f"{_named(self.unknown)} {'has' if len(self.unknown) == 1 else 'have'} {why}")
        if self.erased:
            was = "was" if len(self.erased) == 1 else "were"
            parts.append(
                f"{_named(self.erased)} {was} erased and {'stays' if was == 'was' else 'stay'} out of the state"
            )
        check = "; check the ids, or run the windows that have their rows" if self.unknown else ""
        sentence = f"{', and '.join(parts)}{check}."
        return sentence[0].upper() + sentence[1:] if parts else ""


def embed_users(
    context: Context,
    pool: ProcessPool,
    user_ids: Sequence[str],
    query: str | None,
    scenario: str | None,
    progress: Progress = no_progress,
) -> list[EmbedReport]:
    """Embeddings of users for one question (see `Query`), in the order of `user_ids`.

    Raises:
        NotFoundError: a user has no events or was erased.
    """
    asked = Query(context, query, scenario)
    found = {
        user: EmbedReport(
            user_id=user,
            query=asked.question.query,
            scenario=asked.question.scenario,
            as_of=asked.window.as_of.isoformat(),
            model=asked.model.name,
            trained=asked.model.trained,
            embedding=embedding,
            answer=told,
        )
        for answers in asked.answers(user_ids, pool, progress)
        for user, embedding, told in zip(answers.users, answers.embeddings, answers.told, strict=True)
    }
    if missing := asked.missing():
        raise NotFoundError(missing, kind="user", name=[*asked.unknown, *asked.erased][0])
    return [found[known_id(context.settings, user)] for user in user_ids]


def _question(settings: Settings, query: str | None, scenario: str | None) -> Question:
    if (query is None) == (scenario is None) or not (query or scenario or "").strip():
        raise ConfigError("Ask one question: give --query, or --scenario for the query of a scenario.")
    if scenario is None:
        return Question(query or "", None)
    return Question(settings.scenario(scenario).query, scenario)


def answer_users(
    settings: Settings, now: datetime, model: ModelRecord, ds: date, question: Question, users: list[str]
) -> Answers:
    """In a worker: as `answer`."""
    context = open_context(settings, now)
    return answer(context, open_session(context, model), context.window(ds), question, users)


def answer(context: Context, session: Session, window: Window, question: Question, users: list[str]) -> Answers:
    """Answers about those of `users` (one at least, by their ids of the state) who have events."""
    settings = context.settings
    buckets = sorted({bucket_of(user, settings.buffer.num_buckets) for user in users})
    buffered = read_buffer(context, session, window, buckets, users)
    known = np.flatnonzero(np.any([events.num_events_U > 0 for events in buffered.events], axis=0))
    embeddings_UE = np.zeros((len(known), settings.model.embedding_dim), np.float32)
    answer_U = np.full(len(known), np.nan, np.float32)
    for start in range(0, len(known), settings.run.users_per_batch):
        part = slice(start, start + settings.run.users_per_batch)
        batch = user_batch(buffered.events, known[part])
        if question.scenario is None and session.inference.num_answers:
            embeddings_BSE, answers_BSK = session.inference.embed_and_answer(batch, [question.query])
            embeddings_UE[part], answer_U[part] = embeddings_BSE[:, 0], answers_BSK[:, 0, 0]
        else:
            embeddings_UE[part] = embed(settings, session, batch, question)
    users = np.array(buffered.users["user_id"].to_pylist(), object)[known].tolist()
    return Answers(users, embeddings_UE, answer_U)


def embed(settings: Settings, session: Session, batch: UserBatch, question: Question) -> Float32:
    """Embeddings of a batch of users, shape (users, embedding_dim)."""
    if question.scenario is None:
        return session.inference.embed(batch, [question.query])[:, 0]
    # An embedding's last bits depend on the set of questions of its pass, so these are those of a window.
    queries, names = [s.query for s in settings.scenarios], [s.name for s in settings.scenarios]
    return session.inference.embed(batch, queries, names)[:, names.index(question.scenario)]


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items` in lists of `size`, the last one shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _named(users: Sequence[str]) -> str:
    if len(users) == 1:
        return f"user {users[0]!r}"
    shown = ", ".join(map(repr, users[:NAMED_USERS]))
    more = f" and {len(users) - NAMED_USERS:,} more" if len(users) > NAMED_USERS else ""
    return f"{len(users):,} users ({shown}{more})"
