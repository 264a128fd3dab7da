"""How `native` reads a model that keeps no map to an embedding's own answers: one that was trained before it was kept.

The question in words is the anchor under which a user is embedded, as in deployment. An option is worded as training
words its questions, and goes through what training on dense labels learned of other questions' answers
(`UserModel.answers`): a user's embedding points to the questions that the user will say yes to. The option that it
points to most is the choice, which says for what a user stands out: how common an option is among all users is not in
it.
"""

# N questions that are answered, P phrases, E embedding width

from collections.abc import Sequence

import numpy as np
import torch

from updater.fidelity.questions.wording import counts_events, parts
from updater.fidelity.readers.anchored import Float32, anchored, phrase
from updater.fidelity.readers.asked import NO_OPTION, Asked, Int64
from updater.fidelity.readers.probe import Answers, prior
from updater.model.inference import InferenceModel
from updater.model.user_model import UserModel
from updater.users.event_batches import UserEvents

PHRASES_PER_BATCH = 1024


def answer_by_direction(asked: Asked, model: UserModel, events: Sequence[UserEvents]) -> Answers | None:
    """Answer the questions of the users that readers are not fitted to; None if the model was not trained on answers.

    Args:
        asked: the questions.
        model: the model.
        events: the buffered events of all users that are asked, in their order.
    """
    counting_S = np.array([counts_events(slot) for slot in asked.slots], bool)
    counted_Q = counting_S[asked.slot_Q] & ~asked.train_Q
    rows = np.flatnonzero(~asked.train_Q & ~counted_Q)
    if model.answers is None or not len(rows):
        return None
    anchors_NE = anchored(asked, rows, InferenceModel(model), events)
    towers_OE, option_NK = _options(asked, rows, model)
    scores_NK = np.einsum("ne,nke->nk", anchors_NE, towers_OE[option_NK])
    # A number of events is nothing that a user could be asked about.
    choice_Q = np.where(counted_Q, prior(asked).choice_Q, NO_OPTION)
    choice_Q[rows] = asked.choose(rows, scores_NK.astype(np.float64))
    return Answers(choice_Q, int(counted_Q.sum()))


def _options(asked: Asked, rows: Int64, model: UserModel) -> tuple[Float32, Int64]:
    """Where embeddings lie that point to an option, (options, E), and which of them each question's are, (N, K)."""
    keys = list(zip(asked.modality_Q[rows].tolist(), asked.options_QK[rows].tolist(), strict=True))
    known = sorted({(modality, value) for modality, values in keys for value in values if value != NO_OPTION})
    place = {key: number for number, key in enumerate(known)}
    option_NK = np.array([[place.get((modality, value), 0) for value in values] for modality, values in keys], np.int64)
    # An option that is a set or a sequence points to all of its parts alike; the order of a sequence is not in it.
    said = [[phrase(modality, part) for part in parts(asked.values[value])] for modality, value in known]
    phrases = sorted({one for each in said for one in each})
    towers_PE = _towers(model, phrases)
    number = {one: row for row, one in enumerate(phrases)}
    return np.stack([towers_PE[[number[one] for one in each]].mean(axis=0) for each in said]), option_NK


@torch.no_grad()
def _towers(model: UserModel, phrases: Sequence[str]) -> Float32:
    """Where embeddings lie of users who will say yes, (P, E)."""
    assert model.answers is not None
    made = []
    for start in range(0, len(phrases), PHRASES_PER_BATCH):
        vectors_PX = model.question_vectors(phrases[start : start + PHRASES_PER_BATCH])
        made.append(model.answers(vectors_PX).numpy(force=True))
    return np.concatenate(made)
