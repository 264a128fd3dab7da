"""IP and AP: a user's next event after `as_of`, and the value it has.

Of several events at the same moment one is drawn by hash, as for DF. Wrong options are about as popular as the right
one and new to the user: with values that the user has had, a reader who knows them would do worse than one who knows
nothing, as the right one is often new.
"""

import numpy as np

from updater.fidelity import wording
from updater.fidelity.block import Block, Evidence, question_keys
from updater.fidelity.direct import moments, one_of_each
from updater.fidelity.distractors import draw, near_in_popularity
from updater.fidelity.events import Attribute, History, Ints, Stream, Upcoming
from updater.fidelity.values import MIN_EVENTS, Valued, sift
from updater.fidelity.wording import Slot


def action_blocks(history: History, upcoming: tuple[Upcoming, ...], horizon_days: int) -> list[Block]:
    """A block for the next event of each stream that has a text, and one for its value."""
    return [
        _block(history, slot, Valued(stream, attribute), after, codes_E)
        for stream, after in zip(history.streams, upcoming, strict=True)
        for (slot, attribute), codes_E in zip(_asked(stream, horizon_days), _codes(stream, after), strict=True)
    ]


def num_waiting(history: History, horizon_days: int) -> int:
    """How many questions about the next event there may be once it has come."""
    return sum(
        int(np.count_nonzero(stream.num_events_U >= MIN_EVENTS)) * len(_asked(stream, horizon_days))
        for stream in history.streams
    )


def _asked(stream: Stream, horizon_days: int) -> list[tuple[Slot, Attribute]]:
    slots = []
    if stream.text:
        slots.append((wording.next_event(stream.modality, horizon_days), stream.text))
    if stream.category:
        slots.append((wording.next_value(stream.modality, stream.category.name, horizon_days), stream.category))
    return slots


def _codes(stream: Stream, after: Upcoming) -> list[Ints]:
    return [*([after.text_codes_E] if stream.text else []), *([after.category_codes_E] if stream.category else [])]


def _block(history: History, slot: Slot, valued: Valued, after: Upcoming, codes_E: Ints) -> Block:
    stream, keys_V = valued.stream, valued.attribute.keys_V
    starts, ends = moments(after.owners_E, after.times_E)
    users, first = np.unique(after.owners_E[starts], return_index=True)
    keys_Q = question_keys(slot, history.user_keys_U[users])
    chosen, present_QV = one_of_each(starts[first], ends[first], codes_E, keys_Q, keys_V)
    rows_U = np.full(stream.num_users, -1)
    rows_U[users] = chosen
    owners_Q, removed = sift(
        stream.num_events_U > 0,
        ("few_events", stream.num_events_U >= MIN_EVENTS),
        ("no_next_event", np.isin(np.arange(stream.num_users), users)),
        ("rare_value", rows_U >= 0),
    )
    kept, rows_Q = np.isin(users, owners_Q), rows_U[owners_Q]
    gold_Q = codes_E[rows_Q]
    pool = near_in_popularity(gold_Q, ~valued.seen_UV[owners_Q] & ~present_QV[kept])
    evidence = Evidence(after.ids, rows_Q[:, None], np.zeros(len(owners_Q), bool))
    codes_QK = draw(keys_Q[kept], gold_Q, keys_V, [pool])
    return Block(slot, owners_Q, codes_QK, valued.attribute.names, evidence, removed)
