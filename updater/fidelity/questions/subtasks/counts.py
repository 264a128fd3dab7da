"""MF, match features: how many events of a value or of a modality there are, and which modality has the most.

Counts are asked in buckets on a scale of base 2, so that nobody has to tell 41 from 42.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from updater.fidelity.hashing import text_keys
from updater.fidelity.log.events import Bools, History, Ints, Stream
from updater.fidelity.questions import wording
from updater.fidelity.questions.block import Block, Evidence, newest, number_between, question_keys
from updater.fidelity.questions.distractors import Pool, draw, popular
from updater.fidelity.questions.filters import balanced, without_dominant
from updater.fidelity.questions.values import MIN_EVENTS, Valued, sift
from updater.fidelity.questions.wording import Slot

WINDOW_DAYS: Final = (7, 30, 90)
"""Days over which events are counted; the buffer's length in the place of those that are longer."""
NUM_VALUES: Final = 20
"""Most common values of an attribute whose events are counted."""
NUM_BUCKETS: Final = 32
MIN_SHARE: Final = 0.02
"""Share of the train users from which on a bucket is offered as a wrong option before others are."""
_BUCKETS: Final = [wording.bucket_name(bucket) for bucket in range(NUM_BUCKETS)]


def counts_of_values(history: History, valued: Valued) -> list[Block]:
    """How many events have one of the commonest values, in each window."""
    stream, blocks = valued.stream, []
    everyone = np.arange(stream.num_users)
    for days in _windows(history):
        for code, value in enumerate(valued.attribute.names[:NUM_VALUES]):
            slot = wording.number_of_value(stream.modality, valued.attribute.name, value, days)
            codes_U = np.full(stream.num_users, code)
            first_U, end_U = valued.range_between(everyone, codes_U, history.start(days))
            blocks.append(_block(history, slot, stream, valued.order_E, first_U, end_U))
    return blocks


def counts_of_events(history: History, stream: Stream) -> list[Block]:
    """How many events there are in each window: the length of the sequence."""
    order_E, blocks = np.arange(len(stream.owners_E)), []
    for days in _windows(history):
        slot = wording.number_of_events(stream.modality, days)
        start_U, end_U = stream.offsets_U1[:-1], stream.offsets_U1[1:]
        first_U = start_U + number_between(stream.times_E < history.start(days), start_U, end_U)
        blocks.append(_block(history, slot, stream, order_E, first_U, end_U))
    return blocks


def most_active(history: History, valued: Valued) -> Block:
    """The modality with the most events; `valued` are all modalities together."""
    stream, slot = valued.stream, wording.most_active(history.buffer_days)
    codes_U, unique_U = valued.tally.mode()
    owners_Q, removed = sift(
        stream.num_events_U > 0,
        ("few_events", stream.num_events_U >= MIN_EVENTS),
        ("constant", valued.varied_U),
        ("tie", unique_U),
    )
    gold_Q, keys_Q = codes_U[owners_Q], question_keys(slot, history.user_keys_U[owners_Q])
    pools = [Pool(valued.seen_UV[owners_Q]), *popular(len(owners_Q), valued.num_values)]
    codes_QK = draw(keys_Q, gold_Q, valued.attribute.keys_V, pools)
    evidence = valued.evidence(*valued.range_of(owners_Q, gold_Q))
    return Block(slot, owners_Q, codes_QK, valued.attribute.names, evidence, removed)


def bucket_of_count(counts: Ints) -> Ints:
    """The bucket of each count: 0 for 0, and then one for each power of two."""
    return np.frexp(counts)[1].astype(np.int64)


def _windows(history: History) -> list[int]:
    return sorted({min(days, history.buffer_days) for days in WINDOW_DAYS})


def _block(history: History, slot: Slot, stream: Stream, order_E: Ints, first_U: Ints, end_U: Ints) -> Block:
    """Users with enough events, and how many of them lie between `first_U` and `end_U` of `order_E`."""
    owners_Q, removed = sift(stream.num_events_U > 0, ("few_events", stream.num_events_U >= MIN_EVENTS))
    first_Q, end_Q = first_U[owners_Q], end_U[owners_Q]
    gold_Q = bucket_of_count(end_Q - first_Q)
    no_evidence = Evidence(stream.ids, np.zeros((len(owners_Q), 0), np.int64), np.zeros(len(owners_Q), bool))
    block = Block(slot, owners_Q, gold_Q[:, None], _BUCKETS, no_evidence, removed)
    block = balanced(without_dominant(block, history.train_U), history)
    kept = np.isin(owners_Q, block.owners_Q)
    keys_Q = question_keys(slot, history.user_keys_U[block.owners_Q])
    codes_QK = draw(keys_Q, block.gold_Q, text_keys(_BUCKETS), _pools(block, history.train_U))
    return replace(
        block, codes_QK=codes_QK, evidence=newest(stream.ids, order_E, first_Q[kept], end_Q[kept], stream.fresh_E)
    )


def _pools(block: Block, train_U: Bools) -> list[Pool]:
    """Buckets that the train users are in, then the neighbours of the right one."""
    counts = np.bincount(block.gold_Q[train_U[block.owners_Q]], minlength=NUM_BUCKETS)
    usual_V = (counts > 0) & (counts >= MIN_SHARE * counts.sum())
    shape = len(block.owners_Q), NUM_BUCKETS
    distance_QV = np.abs(np.arange(NUM_BUCKETS)[None, :] - block.gold_Q[:, None])
    return [Pool(np.broadcast_to(usual_V, shape)), *(Pool(distance_QV == distance) for distance in (1, 2, 3))]
