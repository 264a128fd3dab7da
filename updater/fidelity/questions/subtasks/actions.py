"""IP and AP: a user's next event after `as_of`, and the value it has.

Of several events at the same moment one is drawn by hash, as for DF. Wrong options are about as popular as the right
one and new to the user: among values that the user has had, a reader who knows them would do worse than one who knows
nothing, as the right one is often new. Where it is not, knowing what the user has had is enough; those for whom it is
new are a slot of their own.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from updater.fidelity.log.events import Attribute, History, Ints, Stream, Upcoming
from updater.fidelity.questions import wording
from updater.fidelity.questions.block import Block, Evidence, question_keys
from updater.fidelity.questions.distractors import draw, near_in_popularity
from updater.fidelity.questions.subtasks.direct import moments, one_of_each
from updater.fidelity.questions.values import MIN_EVENTS, Valued, sift
from updater.fidelity.questions.wording import Slot
from updater.fidelity.schema import WAITING

_Slots = Callable[[bool], Slot]


def action_blocks(history: History, upcoming: tuple[Upcoming, ...], horizon_days: int) -> list[Block]:
    """Questions about the next event of each stream that has a text, and about its value."""
    blocks = []
    for stream, after in zip(history.streams, upcoming, strict=True):
        for slots, attribute in _asked(stream, horizon_days):
            codes_E = after.text_codes_E if attribute is stream.text else after.category_codes_E
            blocks += _blocks(history, slots, Valued(stream, attribute), after, codes_E)
    return blocks


def waiting(history: History, horizon_days: int) -> pa.Table:
    """Who is asked what about the next event, once it has come: schema WAITING."""
    rows = []
    for stream in history.streams:
        users = [history.users[owner] for owner in np.flatnonzero(stream.num_events_U >= MIN_EVENTS).tolist()]
        for slots, _ in _asked(stream, horizon_days):
            slot = slots(False)
            about = {"subtask": slot.subtask, "modality": slot.modality, "slot": slot.name, "text": slot.text}
            rows += [{"user_id": user, **about} for user in users]
    table = pa.Table.from_pylist(rows, schema=WAITING)
    return table.sort_by([("user_id", "ascending"), ("slot", "ascending")])


def _asked(stream: Stream, horizon_days: int) -> list[tuple[_Slots, Attribute]]:
    """Attributes that are asked of a stream, each with its slot for answers that the user has had and for new ones."""
    asked: list[tuple[_Slots, Attribute]] = []
    if stream.text:
        asked.append((partial(wording.next_event, stream.modality, horizon_days), stream.text))
    if stream.category:
        asked.append(
            (partial(wording.next_value, stream.modality, stream.category.name, horizon_days), stream.category)
        )
    return asked


def _blocks(history: History, slots: _Slots, valued: Valued, after: Upcoming, codes_E: Ints) -> list[Block]:
    stream, keys_V = valued.stream, valued.attribute.keys_V
    starts, ends = moments(after.owners_E, after.times_E)
    users, first = np.unique(after.owners_E[starts], return_index=True)
    drawn_by = question_keys(slots(False), history.user_keys_U[users])
    chosen, present_QV = one_of_each(starts[first], ends[first], codes_E, drawn_by, keys_V)
    rows_U = np.full(stream.num_users, -1)
    rows_U[users] = chosen
    present_UV = np.zeros((stream.num_users, valued.num_values), bool)
    present_UV[users] = present_QV
    owners, removed = sift(
        stream.num_events_U > 0,
        ("few_events", stream.num_events_U >= MIN_EVENTS),
        ("no_next_event", np.isin(np.arange(stream.num_users), users)),
        ("rare_value", rows_U >= 0),
    )
    had = valued.seen_UV[owners, codes_E[rows_U[owners]]]
    blocks = []
    for is_new in (False, True):
        slot, owners_Q = slots(is_new), owners[had != is_new]
        rows_Q = rows_U[owners_Q]
        pool = near_in_popularity(codes_E[rows_Q], ~valued.seen_UV[owners_Q] & ~present_UV[owners_Q])
        keys_Q = question_keys(slot, history.user_keys_U[owners_Q])
        codes_QK = draw(keys_Q, codes_E[rows_Q], keys_V, [pool])
        evidence = Evidence(after.ids, rows_Q[:, None], np.zeros(len(owners_Q), bool))
        blocks.append(Block(slot, owners_Q, codes_QK, valued.attribute.names, evidence, {} if is_new else removed))
    return blocks
