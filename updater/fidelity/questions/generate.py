"""From arrays to the table of questions: pure, so that equal events give equal bytes."""

import json
from collections import Counter
from datetime import datetime
from hashlib import sha256
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.fidelity.hashing import combined, text_keys
from updater.fidelity.log.events import History, Upcoming
from updater.fidelity.questions.block import Block, question_keys
from updater.fidelity.questions.filters import capped, complete, without_dominant
from updater.fidelity.questions.subtasks.actions import action_blocks, waiting
from updater.fidelity.questions.subtasks.counts import counts_of_events, counts_of_values, most_active
from updater.fidelity.questions.subtasks.direct import direct_features
from updater.fidelity.questions.subtasks.interests import long_term, short_term
from updater.fidelity.questions.subtasks.trajectory import trajectories
from updater.fidelity.questions.values import Valued
from updater.fidelity.questions.wording import TEMPLATE_VERSION
from updater.fidelity.schema import QUESTIONS

WAITS: Final = "waiting"
"""What questions without an answer are counted as."""


def generate(
    history: History, upcoming: tuple[Upcoming, ...] | None, horizon_days: int, per_user: int
) -> tuple[pa.Table, dict[str, int]]:
    """The questions, and how many of them each filter removed.

    Args:
        history: what had happened and landed by `as_of`: nothing else decides about the questions of the state.
        upcoming: of each stream what came after it; None while that has not landed, and its questions wait.
        horizon_days: how many days `upcoming` has.
        per_user: questions per user and sub-task at most.
    """
    blocks = state_blocks(history)
    if upcoming is None:
        table, removed = _table(blocks, history, per_user)
        return table, {**removed, WAITS: waiting(history, horizon_days).num_rows}
    return _table([*blocks, *action_blocks(history, upcoming, horizon_days)], history, per_user)


def generate_actions(
    history: History, upcoming: tuple[Upcoming, ...], horizon_days: int, per_user: int
) -> tuple[pa.Table, dict[str, int]]:
    """Those of the questions that are about what came next. Arguments and result as of `generate`."""
    return _table(action_blocks(history, upcoming, horizon_days), history, per_user)


def _table(blocks: list[Block], history: History, per_user: int) -> tuple[pa.Table, dict[str, int]]:
    kept = capped([without_dominant(complete(block), history.train_U) for block in blocks], history, per_user)
    removed = sum((Counter(block.removed) for block in kept), Counter[str]())
    tables = [_rows(block, history) for block in kept if len(block.owners_Q)]
    table = pa.concat_tables(tables) if tables else QUESTIONS.empty_table()
    return table.take(pc.sort_indices(table["question_id"])).combine_chunks(), dict(sorted(removed.items()))


def state_blocks(history: History) -> list[Block]:
    """Questions that are answered by what happened before `as_of`."""
    together = Valued(history.together, history.kinds)
    blocks = direct_features(history, together, positions=(1,))
    blocks += [*counts_of_events(history, history.together), most_active(history, together)]
    for stream in history.streams:
        blocks += counts_of_events(history, stream)
        if stream.category:
            valued = Valued(stream, stream.category)
            blocks += direct_features(history, valued)
            blocks += counts_of_values(history, valued)
            blocks += long_term(history, valued)
            blocks += short_term(history, valued)
            blocks += trajectories(history, valued)
    return blocks


def digest(table: pa.Table, as_of: datetime) -> str:
    """Hash of a set of questions: SHA-256 of its values, column by column."""
    hashed = sha256(as_of.isoformat().encode())
    for name in table.column_names:
        hashed.update(json.dumps([name, table[name].to_pylist()]).encode())
    return hashed.hexdigest()


def question_id(user: str, subtask: str, slot: str, as_of: str) -> str:
    """Digest of what makes a question: template version, user, sub-task, slot and as_of."""
    return sha256(json.dumps([TEMPLATE_VERSION, user, subtask, slot, as_of]).encode()).hexdigest()


def _rows(block: Block, history: History) -> pa.Table:
    slot, num, width = block.slot, *block.codes_QK.shape
    as_of = history.as_of.isoformat()
    users = [history.users[owner] for owner in block.owners_Q.tolist()]
    keys_Q = question_keys(slot, history.user_keys_U[block.owners_Q])
    label_keys = text_keys(block.labels)
    order_QK = np.argsort(combined(keys_Q[:, None], label_keys[block.codes_QK] ^ _SHUFFLE), axis=1, kind="stable")
    shuffled_QK = np.take_along_axis(block.codes_QK, order_QK, axis=1)
    labels = pa.array(block.labels, pa.string())
    options = pa.ListArray.from_arrays(
        pa.array(np.arange(num + 1) * width, pa.int32()), labels.take(pa.array(shuffled_QK.reshape(-1)))
    )
    rows_QR = block.evidence.rows_QR
    found_QR = rows_QR >= 0
    evidence = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(found_QR.sum(axis=1))]), pa.int32()),
        block.evidence.ids.take(pa.array(rows_QR[found_QR])),
    )
    return pa.table(
        {
            "question_id": [question_id(user, slot.subtask, slot.name, as_of) for user in users],
            "user_id": users,
            "subtask": pa.repeat(slot.subtask, num),
            "modality": pa.repeat(slot.modality, num),
            "attribute": pa.repeat(slot.attribute, num),
            "slot": pa.repeat(slot.name, num),
            "text": pa.repeat(slot.text, num),
            "options": options,
            "gold": np.argmax(order_QK == 0, axis=1).astype(np.int32),
            "touches_delta": block.evidence.fresh_Q,
            "evidence": evidence,
            "train": history.train_U[block.owners_Q],
        },
        schema=QUESTIONS,
    )


_SHUFFLE = text_keys(["fidelity-shuffle"])
