"""Reading option by option: a vector of the user for each option, and one ridge regression for all options of a slot.

A probe of a stored vector has to learn a map for each answer, from the few users to whom it was right. Where a system
can be asked about an option, all options of a slot teach the same map what makes an answer right.
"""

# Q questions, K options, P parts of an option, N pairs of a user and a phrase, F columns of a pair

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from updater.evaluation.metrics import Floats
from updater.fidelity.questions.wording import SEQUENCE, counts_events, parts
from updater.fidelity.readers.asked import NO_OPTION, Asked, Int64
from updater.fidelity.readers.probe import FEWEST_USERS, Answers, prior, ridge
from updater.runtime.threads import one_thread

PairVectors = Callable[[Int64, Int64], Floats]
"""From users and phrases, (N,) each, to what a system keeps of a user about a phrase, (N, F)."""


@dataclass(frozen=True, eq=False)
class Phrases:
    """What the options of questions about values are made of."""

    known: tuple[tuple[str, str, str], ...]
    """Modality, attribute and value, sorted."""
    place_QKP: Int64
    """The parts of each option as positions among `known`; `NO_OPTION` where there is none, and in questions whose
    options are numbers of events.
    """
    is_ordered_Q: np.ndarray
    """True where the order of an option's parts matters."""

    @classmethod
    def of(cls, asked: Asked) -> "Phrases":
        """Of all questions."""
        about_values_S = np.array([not counts_events(slot) for slot in asked.slots], bool)
        kept_Q = about_values_S[asked.slot_Q]
        said = [parts(value) for value in asked.values]
        known: dict[tuple[str, str, str], int] = {}
        width = max(map(len, said), default=1)
        place_QKP = np.full((*asked.options_QK.shape, width), NO_OPTION, np.int64)
        for q in np.flatnonzero(kept_Q).tolist():
            key = asked.modality_Q[q], asked.attribute_Q[q]
            for k, value in enumerate(asked.options_QK[q].tolist()):
                for p, part in enumerate(said[value] if value != NO_OPTION else ()):
                    place_QKP[q, k, p] = known.setdefault((str(key[0]), str(key[1]), part), len(known))
        order = {key: number for number, key in enumerate(sorted(known))}
        rank = np.array([*(order[key] for key in known), NO_OPTION], np.int64)
        sequences_V = np.array([SEQUENCE in value for value in asked.values], bool)
        is_ordered_Q = sequences_V[asked.options_QK[:, 0]] if len(asked) else np.zeros(0, bool)
        return cls(tuple(order), rank[place_QKP], is_ordered_Q)

    def pairs(self, asked: Asked) -> tuple[Int64, Int64]:
        """Users and phrases that answers to the questions look at, each pair once, sorted: (N,) each."""
        there_QKP = self.place_QKP != NO_OPTION
        users_QKP = np.broadcast_to(asked.user_Q[:, None, None], self.place_QKP.shape)
        keys = np.unique(users_QKP[there_QKP] * len(self.known) + self.place_QKP[there_QKP])
        users, phrases = np.divmod(keys, max(1, len(self.known)))
        return users, phrases


@one_thread()
def answer_by_option(asked: Asked, phrases: Phrases, vectors: PairVectors, otherwise: Answers) -> Answers:
    """Fit to the users that are there for it, and answer the questions of the others.

    An option's columns are those of its parts, one after the other where their order matters and their mean where it
    does not, and how often the option was right for other users that are fitted to; each less its mean over the
    question's options.

    Args:
        asked: the questions.
        phrases: what their options are made of.
        vectors: what a system keeps of a user about a phrase.
        otherwise: answers to the questions whose options are numbers of events, which nobody can be asked about.
    """
    without, choice_Q = prior(asked), otherwise.choice_Q.copy()
    num_fallback = 0
    for rows in asked.slot_rows:
        is_train = asked.train_Q[rows]
        has_few = is_train.sum() < FEWEST_USERS
        num_fallback += int((~is_train).sum()) if has_few else 0
        if (phrases.place_QKP[rows] == NO_OPTION).all():
            continue
        if has_few:
            choice_Q[rows] = without.choice_Q[rows]
            continue
        columns_NKF, real_NK = _columns(asked, phrases, vectors, rows)
        right_NK = np.zeros(real_NK.shape)
        right_NK[np.arange(len(rows)), asked.gold_Q[rows]] = 1
        right_NK -= real_NK / real_NK.sum(axis=1, keepdims=True)
        fitted = real_NK & is_train[:, None]
        asked_of = columns_NKF[~is_train]
        scores = ridge(columns_NKF[fitted], right_NK[fitted][:, None], asked_of.reshape(-1, columns_NKF.shape[2]))
        choice_Q[rows[~is_train]] = asked.choose(rows[~is_train], scores.reshape(asked_of.shape[:2]))
    return Answers(choice_Q, num_fallback)


def _columns(asked: Asked, phrases: Phrases, vectors: PairVectors, rows: Int64) -> tuple[Floats, np.ndarray]:
    """The columns of each option (N, K, F), and which options there are (N, K)."""
    place_NKP = phrases.place_QKP[rows]
    most = max(1, int((place_NKP != NO_OPTION).sum(axis=2).max()))
    place_NKP = place_NKP[:, :, :most]
    there_NKP = place_NKP != NO_OPTION
    users_NKP = np.broadcast_to(asked.user_Q[rows][:, None, None], place_NKP.shape)
    found = vectors(users_NKP[there_NKP], place_NKP[there_NKP])
    columns = np.zeros((*place_NKP.shape, found.shape[1]))
    columns[there_NKP] = found
    real_NK = there_NKP.any(axis=2)
    if phrases.is_ordered_Q[rows[0]]:
        columns = columns.reshape(*real_NK.shape, -1)
    else:
        columns = columns.sum(axis=2) / np.maximum(1, there_NKP.sum(axis=2))[:, :, None]
    columns = np.concatenate([columns, commonness(asked, rows)[:, :, None]], axis=2)
    columns[~real_NK] = 0
    columns -= columns.sum(axis=1, keepdims=True) / real_NK.sum(axis=1)[:, None, None]
    return columns, real_NK


def commonness(asked: Asked, rows: Int64) -> Floats:
    """Logarithm of how often each option was right for the users that are fitted to, without the question itself."""
    train = asked.train_Q[rows]
    counts_V = np.bincount(asked.gold_values_Q[rows[train]], minlength=len(asked.values) + 1).astype(float)
    counts_NK = counts_V[asked.options_QK[rows]]
    counts_NK[train, asked.gold_Q[rows[train]]] -= 1
    logarithms: Floats = np.log(0.5 + counts_NK)
    return logarithms
