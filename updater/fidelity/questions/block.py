"""All questions of one slot, as arrays, before they become rows.

Q questions, K options, V values that may be asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from updater.fidelity.hashing import Keys, combined, text_keys
from updater.fidelity.log.events import Bools, Ints
from updater.fidelity.questions.wording import TEMPLATE_VERSION, Slot

MAX_EVIDENCE = 8


@dataclass(frozen=True, eq=False)
class Evidence:
    """The events that answers rest on."""

    ids: pa.Array
    """Event ids of a stream."""
    rows_QR: Ints
    """Positions in `ids`, oldest first; -1 stands for none."""
    fresh_Q: Bools
    """True if one of all events that the answer rests on landed on the last day."""

    def take(self, keep: Bools) -> "Evidence":
        """That of some of the questions."""
        return Evidence(self.ids, self.rows_QR[keep], self.fresh_Q[keep])


@dataclass(frozen=True, eq=False)
class Block:
    """The questions of a slot."""

    slot: Slot
    owners_Q: Ints
    """Position of the user who is asked about; each at most once."""
    codes_QK: Ints
    """Options as positions in `labels`, the right one first; -1 in the place of an option that could not be found."""
    labels: Sequence[str]
    evidence: Evidence
    removed: Mapping[str, int]
    """Filter -> how many users it kept from being asked."""

    @property
    def gold_Q(self) -> Ints:
        """The right option's position in `labels`."""
        return self.codes_QK[:, 0]

    def take(self, keep_Q: Bools, filtered: str) -> "Block":
        """Without some questions, which are counted under the name of the filter."""
        lost = int(np.count_nonzero(~keep_Q))
        if not lost:
            return self
        removed = {**self.removed, filtered: self.removed.get(filtered, 0) + lost}
        return replace(
            self,
            owners_Q=self.owners_Q[keep_Q],
            codes_QK=self.codes_QK[keep_Q],
            evidence=self.evidence.take(keep_Q),
            removed=removed,
        )


def question_keys(slot: Slot, user_keys_Q: Keys) -> Keys:
    """A key of each question of a slot, from which all that is drawn for it follows."""
    return combined(user_keys_Q, text_keys([f"{TEMPLATE_VERSION}|{slot.name}"]))


def newest(ids: pa.Array, order_E: Ints, first_Q: Ints, end_Q: Ints, fresh_E: Bools) -> Evidence:
    """Evidence of answers that rest on all events from `first_Q` to `end_Q` of `order_E`, in which times ascend."""
    rows = end_Q[:, None] - np.arange(MAX_EVIDENCE, 0, -1)
    found = np.where(rows >= first_Q[:, None], order_E[np.clip(rows, 0, None)] if len(order_E) else -1, -1)
    return Evidence(ids, found, any_between(fresh_E[order_E], first_Q, end_Q))


def any_between(flags_E: Bools, first_Q: Ints, end_Q: Ints) -> Bools:
    """Whether a flag is set from `first_Q` up to `end_Q`."""
    return number_between(flags_E, first_Q, end_Q) > 0


def number_between(flags_E: Bools, first_Q: Ints, end_Q: Ints) -> Ints:
    """How many flags are set from `first_Q` up to `end_Q`."""
    sums: Ints = np.concatenate([[0], np.cumsum(flags_E)])
    number_Q: Ints = sums[end_Q] - sums[first_Q]
    return number_Q


def joined(parts: Sequence[Evidence], each: int) -> Evidence:
    """Evidence of answers that rest on all of `parts`, of a stream whose events ascend in time; the newest `each`
    events of every part are named.
    """
    rows_QR = np.sort(np.concatenate([part.rows_QR[:, -each:] for part in parts], axis=1), axis=1)
    return Evidence(parts[0].ids, rows_QR, np.any([part.fresh_Q for part in parts], axis=0))
