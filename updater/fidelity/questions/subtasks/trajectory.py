"""IT, interest trajectories: the most frequent value of each third of the buffer's days, in their order.

Wrong options are the right one's values in another order, and one of its values replaced by another that the user has
had. All have at least two different values, as the right one has.
"""

from itertools import pairwise, permutations

import numpy as np

from updater.fidelity.hashing import Keys, combined
from updater.fidelity.log.events import Bools, History, Ints
from updater.fidelity.questions import wording
from updater.fidelity.questions.block import Block, joined, question_keys
from updater.fidelity.questions.distractors import NUM_OPTIONS, Pool, draw
from updater.fidelity.questions.subtasks.interests import combinations
from updater.fidelity.questions.values import MIN_EVENTS, Valued, sift, tally

SEGMENTS = 3


def trajectories(history: History, valued: Valued) -> list[Block]:
    """One block; none if the buffer has fewer days than segments."""
    if history.buffer_days < SEGMENTS:
        return []
    stream, names = valued.stream, valued.attribute.names
    slot = wording.trajectory(stream.modality, valued.attribute.name, history.buffer_days)
    bounds = [history.start(history.buffer_days * left // SEGMENTS) for left in range(SEGMENTS, -1, -1)]
    modes = []
    for start, end in pairwise(bounds):
        within_E = (stream.times_E >= start) & (stream.times_E < end)
        modes.append(tally(stream.owners_E[within_E], valued.attribute.codes_E[within_E], stream.num_users).mode())
    codes_US = np.stack([codes_U for codes_U, _ in modes], axis=1)
    owners_Q, removed = sift(
        stream.num_events_U > 0,
        ("few_events", stream.num_events_U >= MIN_EVENTS),
        ("empty_segment", codes_US.min(axis=1, initial=0) >= 0),
        ("tie", np.logical_and.reduce([unique_U for _, unique_U in modes])),
        ("rare_value", valued.all_askable(codes_US)),
        ("constant", ~_constant(codes_US)),
    )
    gold_QS, keys_Q = codes_US[owners_Q], question_keys(slot, history.user_keys_U[owners_Q])
    labels, codes_QK = combinations(_options(valued, owners_Q, gold_QS, keys_Q), names, wording.SEQUENCE)
    evidence = [
        valued.evidence(*valued.range_between(owners_Q, gold_QS[:, n], bounds[n], bounds[n + 1]))
        for n in range(SEGMENTS)
    ]
    return [Block(slot, owners_Q, codes_QK, labels, joined(evidence, each=2), removed)]


def _options(valued: Valued, owners_Q: Ints, gold_QS: Ints, keys_Q: Keys) -> Ints:
    """Options of shape (Q, K, segments), the right one first.

    Of two values alone there are six sequences that are not constant, so there are always enough.
    """
    other_Q = _other_value(valued, owners_Q, gold_QS, keys_Q)
    candidates = [gold_QS] + [gold_QS[:, list(order)] for order in permutations(range(SEGMENTS))]
    for place in range(SEGMENTS):
        for value_Q in (other_Q, *gold_QS.T):
            replaced = gold_QS.copy()
            replaced[:, place] = value_Q
            candidates.append(replaced)
    candidates_QCS = np.stack(candidates, axis=1)
    numbers_QC = candidates_QCS @ (valued.num_values ** np.arange(SEGMENTS))
    draws_QC = combined(keys_Q[:, None], numbers_QC.astype(np.uint64))
    # Equal candidates have equal draws and stand side by side; the first of them stays, and the right one leads.
    draws_QC[numbers_QC == numbers_QC[:, :1]] = 0
    usable_QC = ~_constant(candidates_QCS) & (candidates_QCS >= 0).all(axis=2)
    draws_QC[~usable_QC] = np.iinfo(np.uint64).max
    order_QC = np.argsort(draws_QC, axis=1, kind="stable")
    sorted_QC = np.take_along_axis(numbers_QC, order_QC, axis=1)
    again_QC = np.zeros(sorted_QC.shape, bool)
    again_QC[:, 1:] = sorted_QC[:, 1:] == sorted_QC[:, :-1]
    first_QC = np.argsort(again_QC, axis=1, kind="stable")[:, :NUM_OPTIONS]
    chosen_QK = np.take_along_axis(order_QC, first_QC, axis=1)
    return np.take_along_axis(candidates_QCS, chosen_QK[:, :, None], axis=1)


def _other_value(valued: Valued, owners_Q: Ints, gold_QS: Ints, keys_Q: Keys) -> Ints:
    """A value of the user that the right answer does not have; -1 without any."""
    allowed_QV = valued.seen_UV[owners_Q]
    np.put_along_axis(allowed_QV, gold_QS, False, axis=1)
    drawn_QK = draw(keys_Q, gold_QS[:, 0], valued.attribute.keys_V, [Pool(allowed_QV)], num_options=2)
    return drawn_QK[:, 1] if drawn_QK.shape[1] > 1 else np.full(len(owners_Q), -1)


def _constant(codes: Ints) -> Bools:
    """True where all values along the last axis are one."""
    is_constant: Bools = np.all(codes == codes[..., :1], axis=-1)
    return is_constant
