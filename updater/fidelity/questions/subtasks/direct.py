"""DF, direct features: the value of the k-th last event.

Events at the same moment, such as the lines of a receipt, have no order that the log knows. They count as one event, of
which a value is drawn by hash; the others of that moment are no wrong options.
"""

from typing import Final

import numpy as np

from updater.fidelity.hashing import Keys, combined
from updater.fidelity.log.events import Bools, History, Ints
from updater.fidelity.questions import wording
from updater.fidelity.questions.block import Block, Evidence, question_keys
from updater.fidelity.questions.distractors import Pool, draw, popular
from updater.fidelity.questions.values import MIN_EVENTS, Valued, sift

POSITIONS: Final = (1, 2, 3, 5)
"""Which events are asked for, counted from the last."""


def direct_features(history: History, valued: Valued, positions: tuple[int, ...] = POSITIONS) -> list[Block]:
    """A block for each position; with two wrong options that the user has had elsewhere, where there are so many."""
    return [_block(history, valued, k) for k in positions]


def _block(history: History, valued: Valued, k: int) -> Block:
    stream = valued.stream
    slot = wording.direct(stream.modality, valued.attribute.name, k)
    starts, ends = moments(stream.owners_E, stream.times_E)
    offsets_U1 = np.searchsorted(stream.owners_E[starts], np.arange(stream.num_users + 1))
    moment_U = offsets_U1[1:] - k
    has_moment_U = moment_U >= offsets_U1[:-1]
    asked_U = np.flatnonzero(has_moment_U)
    keys_Q = question_keys(slot, history.user_keys_U[asked_U])
    rows_U = np.full(stream.num_users, -1)
    chosen, present = one_of_each(
        starts[moment_U[asked_U]], ends[moment_U[asked_U]], valued.attribute.codes_E, keys_Q, valued.attribute.keys_V
    )
    rows_U[asked_U] = chosen
    owners_Q, removed = sift(
        stream.num_events_U > 0,
        ("few_events", (stream.num_events_U >= MIN_EVENTS) & has_moment_U),
        ("constant", valued.varied_U),
        ("rare_value", rows_U >= 0),
    )
    kept = np.isin(asked_U, owners_Q)
    present_QV, rows_Q = present[kept], rows_U[owners_Q]
    gold_Q = valued.attribute.codes_E[rows_Q]
    pools = [
        Pool(valued.seen_UV[owners_Q] & ~present_QV, most=2),
        *(Pool(pool.allowed_QV & ~present_QV) for pool in popular(len(owners_Q), valued.num_values)),
    ]
    return Block(
        slot,
        owners_Q,
        draw(keys_Q[kept], gold_Q, valued.attribute.keys_V, pools),
        valued.attribute.names,
        Evidence(stream.ids, rows_Q[:, None], stream.fresh_E[rows_Q]),
        removed,
    )


def moments(owners_E: Ints, times_E: Ints) -> tuple[Ints, Ints]:
    """First and end of each run of events that a user had at the same moment."""
    if not len(owners_E):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first = np.flatnonzero(np.diff(owners_E, prepend=-1) | np.diff(times_E, prepend=times_E[0]))
    starts = first.astype(np.int64)
    return starts, np.append(starts[1:], len(owners_E))


def one_of_each(starts_Q: Ints, ends_Q: Ints, codes_E: Ints, keys_Q: Keys, value_keys_V: Keys) -> tuple[Ints, Bools]:
    """One event of each moment, drawn by hash of its value, and which values occur at the moment.

    Returns:
        Rows of shape (Q,), -1 where no event of the moment has a value that may be asked for; and a mask of shape
        (Q, V).
    """
    lengths = ends_Q - starts_Q
    questions = np.repeat(np.arange(len(starts_Q)), lengths)
    rows = np.arange(lengths.sum()) + np.repeat(starts_Q - np.cumsum(lengths) + lengths, lengths)
    askable = (codes_E[rows] >= 0) & (codes_E[rows] < len(value_keys_V))
    questions, rows = questions[askable], rows[askable]
    present_QV = np.zeros((len(starts_Q), len(value_keys_V)), bool)
    present_QV[questions, codes_E[rows]] = True
    draws = combined(keys_Q[questions], value_keys_V[codes_E[rows]])
    order = np.lexsort((rows, draws, questions))
    first = order[np.flatnonzero(np.diff(questions[order], prepend=-1))]
    chosen_Q = np.full(len(starts_Q), -1)
    chosen_Q[questions[first]] = rows[first]
    return chosen_Q, present_QV
