"""LI and SI: what a user has most of, in the whole buffer and of late.

A tie has no answer and is not asked. Wrong options are values that the user has had, so that it takes more to answer
than to know which ones these are.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from updater.fidelity.hashing import combined
from updater.fidelity.log.events import Bools, History, Ints
from updater.fidelity.questions import wording
from updater.fidelity.questions.block import Block, joined, question_keys
from updater.fidelity.questions.distractors import Pool, draw, popular
from updater.fidelity.questions.values import MIN_EVENTS, Valued, sift, tally

RECENT_DAYS: Final = 7
RECENT_EVENTS: Final = 10
MIN_RECENT: Final = 3
"""Recent events from which on a user is asked for the most frequent value of them."""


def long_term(history: History, valued: Valued) -> list[Block]:
    """The most frequent value, and the three most frequent ones."""
    return [_most_frequent(history, valued), _three_most_frequent(history, valued)]


def short_term(history: History, valued: Valued) -> list[Block]:
    """The most frequent value of the last days and of the last events; those whose answer is not also the long-term
    one are a slot of their own.
    """
    stream = valued.stream
    tenth_U = stream.offsets_U1[1:] - RECENT_EVENTS
    # Where the tenth is one of several at the same moment, all of them count.
    since_U = np.where(
        tenth_U >= stream.offsets_U1[:-1], stream.times_E[np.clip(tenth_U, 0, None)] if len(stream.times_E) else 0, 0
    )
    of_events = f"among the last {RECENT_EVENTS}, with those at the same moment as the tenth"
    is_more_U = stream.num_events_U > RECENT_EVENTS
    blocks = _recent(history, valued, since_U[stream.owners_E], is_more_U, f"last{RECENT_EVENTS}", of_events)
    if history.buffer_days > RECENT_DAYS:
        since = np.full(len(stream.times_E), history.start(RECENT_DAYS))
        everyone_U = np.ones(stream.num_users, bool)
        blocks += _recent(history, valued, since, everyone_U, f"{RECENT_DAYS}d", wording.of_last_days(RECENT_DAYS))
    return blocks


def _most_frequent(history: History, valued: Valued) -> Block:
    stream = valued.stream
    slot = wording.long_term(stream.modality, valued.attribute.name, history.buffer_days)
    codes_U, unique_U = valued.tally.mode()
    owners_Q, removed = sift(
        stream.num_events_U > 0,
        ("few_events", stream.num_events_U >= MIN_EVENTS),
        ("constant", valued.varied_U),
        ("tie", unique_U),
        ("rare_value", valued.askable(codes_U)),
    )
    gold_Q, keys_Q = codes_U[owners_Q], question_keys(slot, history.user_keys_U[owners_Q])
    codes_QK = draw(keys_Q, gold_Q, valued.attribute.keys_V, _seen_first(valued, owners_Q))
    evidence = valued.evidence(*valued.range_of(owners_Q, gold_Q))
    return Block(slot, owners_Q, codes_QK, valued.attribute.names, evidence, removed)


def _three_most_frequent(history: History, valued: Valued) -> Block:
    """A wrong set has one value in another's place."""
    stream = valued.stream
    slot = wording.long_term_three(stream.modality, valued.attribute.name, history.buffer_days)
    codes_U3 = np.stack([valued.tally.nth(n)[0] for n in range(3)], axis=1)
    third_U, fourth_U = valued.tally.nth(2)[1], valued.tally.nth(3)[1]
    owners_Q, removed = sift(
        stream.num_events_U > 0,
        ("few_events", stream.num_events_U >= MIN_EVENTS),
        ("constant", valued.tally.num_distinct_U > 3),
        ("tie", third_U > fourth_U),
        ("rare_value", valued.all_askable(codes_U3)),
    )
    gold_Q3, keys_Q = codes_U3[owners_Q], question_keys(slot, history.user_keys_U[owners_Q])
    allowed_QV = np.ones((len(owners_Q), valued.num_values), bool)
    np.put_along_axis(allowed_QV, gold_Q3, False, axis=1)
    pools = [Pool(pool.allowed_QV & allowed_QV) for pool in _seen_first(valued, owners_Q)]
    others_QK = draw(keys_Q, gold_Q3[:, 0], valued.attribute.keys_V, pools)
    sets_QK3 = np.repeat(gold_Q3[:, None], max(others_QK.shape[1], 1), axis=1)
    place = (combined(keys_Q, keys_Q) % np.uint64(3)).astype(np.int64)
    for k in range(1, others_QK.shape[1]):
        sets_QK3[np.arange(len(owners_Q)), k, place] = others_QK[:, k]
    labels, codes_QK = combinations(np.sort(sets_QK3, axis=2), valued.attribute.names, wording.SET)
    codes_QK[:, : others_QK.shape[1]][others_QK < 0] = -1
    evidence = [valued.evidence(*valued.range_of(owners_Q, gold_Q3[:, n])) for n in range(3)]
    return Block(slot, owners_Q, codes_QK, labels, joined(evidence, each=2), removed)


def _recent(history: History, valued: Valued, since_E: Ints, eligible_U: Bools, recent: str, when: str) -> list[Block]:
    stream, names = valued.stream, valued.attribute.names
    is_recent_E = stream.times_E >= since_E
    counts = tally(stream.owners_E[is_recent_E], valued.attribute.codes_E[is_recent_E], stream.num_users)
    codes_U, unique_U = counts.mode()
    num_recent_U = np.bincount(stream.owners_E[is_recent_E], minlength=stream.num_users)
    owners, removed = sift(
        stream.num_events_U > 0,
        ("few_events", (stream.num_events_U >= MIN_EVENTS) & eligible_U & (num_recent_U >= MIN_RECENT)),
        ("constant", valued.varied_U),
        ("tie", unique_U),
        ("rare_value", valued.askable(codes_U)),
    )
    first, end = valued.range_of(owners, codes_U[owners])
    differs = end - first < valued.tally.nth(0)[1][owners]
    blocks = []
    for variant in (False, True):
        slot = wording.short_term(stream.modality, valued.attribute.name, recent, when, variant)
        owners_Q = owners[differs == variant]
        gold_Q, keys_Q = codes_U[owners_Q], question_keys(slot, history.user_keys_U[owners_Q])
        pools = [Pool(_long_term_value(valued, owners_Q), most=1), *_seen_first(valued, owners_Q)]
        codes_QK = draw(keys_Q, gold_Q, valued.attribute.keys_V, pools)
        evidence = valued.evidence(*valued.range_between(owners_Q, gold_Q, since_E))
        blocks.append(Block(slot, owners_Q, codes_QK, names, evidence, {} if variant else removed))
    return blocks


def _seen_first(valued: Valued, owners_Q: Ints) -> list[Pool]:
    return [Pool(valued.seen_UV[owners_Q]), *popular(len(owners_Q), valued.num_values)]


def _long_term_value(valued: Valued, owners_Q: Ints) -> Bools:
    """A mask of the user's most frequent value of the whole buffer; of the first of those that are."""
    codes_Q = valued.tally.nth(0)[0][owners_Q]
    is_it_QV: Bools = np.arange(valued.num_values)[None, :] == codes_Q[:, None]
    return is_it_QV


def combinations(codes_QKN: Ints, names: Sequence[str], separator: str) -> tuple[list[str], Ints]:
    """Options of N values each: their labels, and for each question the positions among these."""
    distinct, inverse = np.unique(codes_QKN.reshape(-1, codes_QKN.shape[2]), axis=0, return_inverse=True)
    labels = [separator.join(names[code] for code in row) for row in distinct.tolist()]
    return labels, inverse.reshape(codes_QKN.shape[:2])
