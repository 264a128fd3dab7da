"""Users as the model embeds them under a question, for questions that no scenario asks.

The state of a user is read once, the question comes last: the same state that the published embeddings are read off.
"""

# N questions, or users and options in `_under_options`; U users, E embedding width, or answers

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from updater.evaluation.metrics import Floats
from updater.fidelity.readers.asked import Asked, Int64
from updater.fidelity.readers.options import PairVectors, Phrases
from updater.model.batch import UserBatch
from updater.model.inference import InferenceModel
from updater.training.wording import WORDINGS, fill
from updater.users.event_batches import UserEvents, user_batch

Float32 = NDArray[np.float32]
USERS_PER_BATCH = 64
"""Each of them is embedded under every slot's question."""
USERS_PER_OPTIONS = 16
"""Each of them is embedded under all of their options: the fewer, the fewer options that are not a user's own."""
ANSWER_DAYS = 28
"""Days of the future in the wording of an option."""


def anchored(asked: Asked, rows: Int64, model: InferenceModel, events: Sequence[UserEvents]) -> Float32:
    """The embedding of each question's user under the words of the question itself, (N, E).

    Args:
        asked: the questions.
        rows: positions of those that are embedded.
        model: the model.
        events: the buffered events of all users that are asked, in their order.
    """
    anchors_NE = np.zeros((len(rows), model.config.embedding_dim), np.float32)
    users = np.unique(asked.user_Q[rows])
    for start in range(0, len(users), USERS_PER_BATCH):
        batch = users[start : start + USERS_PER_BATCH]
        own = np.flatnonzero(np.isin(asked.user_Q[rows], batch))
        slots, slot_of = np.unique(asked.slot_Q[rows[own]], return_inverse=True)
        values_BSE = model.embed(user_batch(events, batch), [asked.texts[slot] for slot in slots])
        anchors_NE[own] = values_BSE[np.searchsorted(batch, asked.user_Q[rows[own]]), slot_of]
    return anchors_NE


def anchored_options(
    asked: Asked, phrases: Phrases, model: InferenceModel, events: Sequence[UserEvents]
) -> PairVectors:
    """Embeddings of users under options, each worded as a question of training's.

    Args:
        asked: the questions.
        phrases: what their options are made of.
        model: the model.
        events: the buffered events of all users that are asked, in their order.
    """
    return _under_options(asked, phrases, model.embed, model.config.embedding_dim, events)


def option_answers(asked: Asked, phrases: Phrases, model: InferenceModel, events: Sequence[UserEvents]) -> PairVectors:
    """What the model itself answers to options, each worded as a question of training's (`InferenceModel.answers`).

    The arguments are those of `anchored_options`; the model was trained to answer.
    """
    return _under_options(asked, phrases, model.answers, model.num_answers, events)


def _under_options(
    asked: Asked,
    phrases: Phrases,
    read: Callable[[UserBatch, Sequence[str]], Float32],
    width: int,
    events: Sequence[UserEvents],
) -> PairVectors:
    users_N, phrases_N = phrases.pairs(asked)
    queries = [phrase(modality, value) for modality, _, value in phrases.known]
    vectors_NE = np.zeros((len(users_N), width), np.float32)
    known = np.unique(users_N)
    for start in range(0, len(known), USERS_PER_OPTIONS):
        batch = known[start : start + USERS_PER_OPTIONS]
        own = np.flatnonzero(np.isin(users_N, batch))
        needed, place = np.unique(phrases_N[own], return_inverse=True)
        values_BSE = read(user_batch(events, batch), [queries[number] for number in needed])
        vectors_NE[own] = values_BSE[np.searchsorted(batch, users_N[own]), place]
    keys_N = users_N * len(phrases.known) + phrases_N

    def of(users: Int64, said: Int64) -> Floats:
        return vectors_NE[np.searchsorted(keys_N, users * len(phrases.known) + said)].astype(float)

    return of


def phrase(modality: str, value: str) -> str:
    """An option, or a part of one, as a question in training's words."""
    return fill(WORDINGS["events"][0], modality, value, days=ANSWER_DAYS)
