"""Which questions stay: slots with an answer worth asking for, and not too many of one user."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from updater.fidelity.hashing import Keys, combined, text_keys, uniform
from updater.fidelity.log.events import Bools, History, Ints
from updater.fidelity.questions.block import Block, question_keys

DOMINANT_SHARE: Final = 0.8
"""A slot is not asked if one answer is right for more than this share of the train users who would be asked."""
PER_USER: Final = 8
"""Questions of a user and sub-task."""
_BALANCE = text_keys(["fidelity-balance"])


def without_dominant(block: Block, train_U: Bools) -> Block:
    """Drop the whole slot if one answer dominates it, or if no train user is asked."""
    counts = np.bincount(block.gold_Q[train_U[block.owners_Q]])
    keep = counts.sum() > 0 and counts.max() <= DOMINANT_SHARE * counts.sum()
    return block.take(np.full(len(block.owners_Q), keep), "dominant_answer")


def balanced(block: Block, history: History) -> Block:
    """Thin out the commonest answer to the number of the second, counted on train users and drawn by hash for all."""
    counts = np.bincount(block.gold_Q[history.train_U[block.owners_Q]], minlength=2)
    commonest = int(np.argmax(counts))
    second = int(np.sort(counts)[-2])
    if second == counts[commonest]:
        return block
    draws_Q = uniform(combined(question_keys(block.slot, history.user_keys_U[block.owners_Q]), _BALANCE))
    return block.take((block.gold_Q != commonest) | (draws_Q * counts[commonest] < second), "balanced")


def complete(block: Block) -> Block:
    """Drop questions for which there were too few wrong options; all if there can be only one option."""
    enough = block.codes_QK.shape[1] > 1
    return block.take((block.codes_QK >= 0).all(axis=1) & enough, "too_few_options")


def capped(blocks: Sequence[Block], history: History, per_user: int) -> list[Block]:
    """Keep at most `per_user` questions of each user and sub-task: those with the smallest keys."""
    kept: dict[int, Bools] = {}
    for subtask in dict.fromkeys(block.slot.subtask for block in blocks):
        numbers = [n for n, block in enumerate(blocks) if block.slot.subtask == subtask]
        lengths = [len(blocks[n].owners_Q) for n in numbers]
        owners: Ints = np.concatenate([blocks[n].owners_Q for n in numbers])
        keys: Keys = np.concatenate(
            [question_keys(blocks[n].slot, history.user_keys_U[blocks[n].owners_Q]) for n in numbers]
        )
        order = np.lexsort((keys, owners))
        starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
        keep = np.zeros(len(order), bool)
        keep[order[rank < per_user]] = True
        kept |= dict(zip(numbers, np.split(keep, np.cumsum(lengths)[:-1]), strict=True))
    return [block.take(kept[n], "over_cap") for n, block in enumerate(blocks)]
