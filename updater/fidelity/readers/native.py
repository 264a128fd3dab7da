"""The reader `native`: the model itself is asked, with nothing fitted but how often an option is right.

Each option is worded as training words its questions; under that question a user is embedded, and the map that training
on dense labels learned says how likely the yes is (`UserModel.own_answers`). That is said in relation to how common the
yes is among all users, so how often the option was right for others comes on top, as `prior` has it.
"""

# Q questions, N of them that are answered, K options, P parts of an option

from collections.abc import Sequence

import numpy as np

from updater.evaluation.metrics import Floats
from updater.fidelity.readers.anchored import option_answers
from updater.fidelity.readers.asked import NO_OPTION, Asked
from updater.fidelity.readers.options import Phrases, commonness
from updater.fidelity.readers.pointing import answer_by_direction
from updater.fidelity.readers.probe import Answers, prior
from updater.model.inference import InferenceModel
from updater.model.user_model import UserModel
from updater.users.event_batches import UserEvents


def answer_natively(asked: Asked, model: UserModel, events: Sequence[UserEvents]) -> Answers | None:
    """Answer the questions of the users that readers are not fitted to; None if the model was not trained on answers.

    Numbers of events and the order of a sequence are nothing that training's questions ask for: there the answer is the
    prior's. A model that was trained before its map to answers was kept is read by `answer_by_direction`.

    Args:
        asked: the questions.
        model: the model.
        events: the buffered events of all users that are asked, in their order.
    """
    if model.own_answers is None:
        return answer_by_direction(asked, model, events)
    phrases, choice_Q = Phrases.of(asked), prior(asked).choice_Q
    can_Q = ~phrases.is_ordered_Q & (phrases.place_QKP != NO_OPTION).any(axis=(1, 2))
    told_QK = np.zeros(asked.options_QK.shape)
    told_QK[can_Q & ~asked.train_Q] = _told(asked, can_Q & ~asked.train_Q, model, events)
    for rows in asked.slot_rows:
        answered = np.flatnonzero((can_Q & ~asked.train_Q)[rows])
        scores_NK = commonness(asked, rows)[answered] + told_QK[rows[answered]]
        choice_Q[rows[answered]] = asked.choose(rows[answered], scores_NK)
    return Answers(choice_Q, int((~can_Q & ~asked.train_Q).sum()))


def _told(asked: Asked, chosen_Q: np.ndarray, model: UserModel, events: Sequence[UserEvents]) -> Floats:
    """Log odds of the yes to each option of some questions, the mean over its parts, (N, K)."""
    part = asked.take(chosen_Q)
    phrases = Phrases.of(part)
    there_NKP = phrases.place_QKP != NO_OPTION
    users_NKP = np.broadcast_to(part.user_Q[:, None, None], there_NKP.shape)
    logits_NKP = np.zeros(there_NKP.shape)
    answers = option_answers(part, phrases, InferenceModel(model), events)
    logits_NKP[there_NKP] = answers(users_NKP[there_NKP], phrases.place_QKP[there_NKP])[:, 0]
    mean_NK: Floats = logits_NKP.sum(axis=2) / np.maximum(1, there_NKP.sum(axis=2))
    return mean_NK
