"""What the questions are answered from, and the answers: systems that keep less of a user on purpose, the model that is
asked, and the embeddings that are given.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from updater.domain.window import Window
from updater.evaluation.metrics import Floats
from updater.evaluation.systems.embedding import mean_text
from updater.fidelity.questions.make import Questions
from updater.fidelity.readers.anchored import anchored, anchored_options
from updater.fidelity.readers.asked import Asked
from updater.fidelity.readers.native import answer_natively
from updater.fidelity.readers.options import PairVectors, Phrases, answer_by_option
from updater.fidelity.readers.probe import Answers, answer, answer_anchored, prior
from updater.fidelity.systems.bags import Log, bag, option_counts, read_log
from updater.fidelity.systems.names import NEWEST, PRIOR, SYSTEMS, SystemFactory, random, shuffled
from updater.fidelity.systems.stored import buffered
from updater.model.inference import InferenceModel
from updater.model.user_model import UserModel
from updater.runtime.deployment import Context, Progress
from updater.runtime.session import Session
from updater.training.dense.layers import is_pretrained
from updater.training.profiles import Profiles
from updater.users.event_batches import UserEvents

NATIVE, ASKED = "native", "asked"
READERS: Final = (NATIVE, ASKED)
"""Beside the probe, which always reads."""


@dataclass(frozen=True)
class Compared:
    """Systems in the order of the reports, and what was read off them."""

    matrices: Mapping[str, Floats]
    """Of each system that keeps one vector of a user, (U, columns)."""
    columns: Mapping[str, int]
    """How many numbers of a user each system answers a question from."""
    answers: Mapping[str, Answers]


def compare(
    context: Context,
    session: Session,
    window: Window,
    questions: Questions,
    asked: Asked,
    embeddings: Mapping[str, Floats],
    *,
    readers: Collection[str] | None = None,
    external: Mapping[str, SystemFactory] | None = None,
    progress: Progress,
) -> Compared:
    """Answer the questions from everything.

    Args:
        context: the deployment.
        session: with the live model.
        window: the one at whose end is asked.
        questions: as they were made.
        asked: the same as arrays.
        embeddings: of all users by system, `published` among them.
        readers: of READERS, which ones beside the probe; by default those that cost little.
        external: what makes the vectors of systems that are none of this project.
        progress: called as work is done.
    """
    settings, given = context.settings, dict(external or {})
    events = buffered(context, session, window, asked.users.tolist())
    log = read_log(context, session.connection, window, asked.users.tolist())
    fitted = set(asked.users[np.unique(asked.user_Q[asked.train_Q])].tolist())
    seed = settings.model.seed
    matrices: dict[str, Floats] = {
        **embeddings,
        "text": mean_text(Profiles(window.ds, asked.users, tuple(events))).astype(float),
        "counts": bag(log, fitted),
        **{f"last_{newest}": bag(log, fitted, newest) for newest in NEWEST},
        "shuffled": shuffled(embeddings["published"], seed),
        "random": random(len(asked.users), seed),
        **{name: asked.matrix(make(questions.table)) for name, make in given.items()},
    }
    columns = {name: matrix.shape[1] for name, matrix in matrices.items()}
    answers: dict[str, Answers] = {}
    for done, (name, matrix) in enumerate(matrices.items()):
        progress("reading answers", done, len(matrices))
        answers[name] = answer(asked, matrix)
    if readers is None:
        readers = cheap_readers(session.model)
    if ASKED in readers:
        progress("asking about options", 0, 1)
        found, widths = _asked(asked, session, events, log, matrices["text"], answers)
        answers, columns = answers | found, columns | widths
    if NATIVE in readers and (native := answer_natively(asked, session.model, events)) is not None:
        answers[NATIVE], columns[NATIVE] = native, 0
    answers[PRIOR], columns[PRIOR] = prior(asked), 0
    order = [name for name in (*SYSTEMS, *given) if name in answers and name != PRIOR]
    return Compared(matrices, columns, {name: answers[name] for name in (*order, PRIOR)})


def cheap_readers(model: UserModel) -> tuple[str, ...]:
    """Who asks about each option is left out where that costs a pass of somebody else's language model."""
    if not is_pretrained(model):
        return READERS
    return () if model.own_answers is not None else (NATIVE,)


def _asked(
    asked: Asked,
    session: Session,
    events: Sequence[UserEvents],
    log: Log,
    text_UX: Floats,
    answers: Mapping[str, Answers],
) -> tuple[dict[str, Answers], dict[str, int]]:
    """The answers of whatever can be asked about an option, and how many numbers say something about one."""
    model, phrases = InferenceModel(session.model), Phrases.of(asked)
    under_QE = anchored(asked, np.arange(len(asked)), model, events).astype(float)
    sources: dict[str, tuple[PairVectors, Answers]] = {
        "asked": (anchored_options(asked, phrases, model, events), answer_anchored(asked, under_QE)),
        "asked_counts": (option_counts(log, NEWEST, phrases), answers["counts"]),
        "asked_text": (_option_texts(session, text_UX, phrases), answers["text"]),
    }
    widths = {"asked": under_QE.shape[1], "asked_counts": len(NEWEST) + 1, "asked_text": text_UX.shape[1]}
    return {
        name: answer_by_option(asked, phrases, vectors, otherwise) for name, (vectors, otherwise) in sources.items()
    }, widths


def _option_texts(session: Session, text_UX: Floats, phrases: Phrases) -> PairVectors:
    """How far the mean text of a user is the option's, along every axis of the text encoder."""
    if not phrases.known:
        return lambda users, _: np.zeros((len(users), text_UX.shape[1]))
    options_PX = session.model.questions([value for _, _, value in phrases.known]).astype(float)
    centred_UX, centred_PX = text_UX - text_UX.mean(axis=0), options_PX - options_PX.mean(axis=0)
    return lambda users, said: centred_UX[users] * centred_PX[said]
