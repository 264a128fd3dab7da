"""How often, how lately and for how much each of a user's distinct texts occurred in the buffer.

Ages are whole local days before the user's newest event over all modalities, so nothing moves while nothing happens.
Sums are taken in float64 in the order of the events, so they do not depend on who is computed along.
"""

# B users, A events of a modality, P pairs of a user and a text, T the same over all modalities

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from updater.model.batch import Float32, Float64, Int64, ModalityBatch, UserBatch, segment_rows, select_segments
from updater.model.config import ModelConfig

DAY = 86_400.0
HALF_LIVES = (7.0, 21.0, 60.0)
"""Of the decayed counts of days, in days."""
FADING_DAYS = 14.0
"""Over which what happened last fades, for the counts that a question asks for."""
DAYS, EVENTS, DECAYED, AGE, AMOUNT, GAP = 0, 1, slice(2, 2 + len(HALF_LIVES)), 5, 6, 7
NUM_STATISTICS = 8
ORDER = DECAYED.start + 1
"""The statistic by which a user's texts are ordered: with half of it gone after 21 days."""


@dataclass(frozen=True)
class UserTexts:
    """The distinct texts of B users in the modalities that are streams, T in all; each user's by rising ORDER."""

    vectors_VX: Float32
    """Text vectors, a modality's after the other's."""
    modality_V: Int64
    row_T: Int64
    """Row in `vectors_VX`."""
    modality_T: Int64
    offsets_B1: Int64
    """User b's are offsets[b] to offsets[b + 1]."""
    statistics_TK: Float64
    """Distinct days, events, days decayed by HALF_LIVES, age of the newest, sum of absolute amounts, and mean days
    between two days (0 if there is one), shape (T, NUM_STATISTICS)."""

    def select(self, users: Int64) -> "UserTexts":
        """The users at `users`, with the vectors of their texts alone."""
        rows, offsets = select_segments(self.offsets_B1, users)
        used, row_T = np.unique(self.row_T[rows], return_inverse=True)
        return UserTexts(
            self.vectors_VX[used],
            self.modality_V[used],
            row_T.astype(np.int64),
            self.modality_T[rows],
            offsets,
            self.statistics_TK[rows],
        )

    def newest(self, most: int) -> Int64:
        """Rows of the last `most` texts of each user, and so of at most as many tokens."""
        counts = np.minimum(np.diff(self.offsets_B1), most)
        return segment_rows(self.offsets_B1[1:] - counts, counts)


def local_days(part: ModalityBatch) -> Int64:
    """The local day of each event, counted from 1970, shape (A,)."""
    days: Int64 = np.floor(part.local_A / DAY).astype(np.int64)
    return days


def newest_days(config: ModelConfig, batch: UserBatch) -> Int64:
    """The local day of each user's newest event over all streams, shape (B,); 0 without events."""
    newest_B = np.zeros(batch.num_users, np.int64)
    for modality, part in zip(config.modalities, batch.modalities, strict=True):
        if not modality.snapshot:
            np.maximum.at(newest_B, part.owners_A, local_days(part))
    return newest_B


def amounts(part: ModalityBatch) -> Float64:
    """Absolute amount of each event, shape (A,): of the first numeric column that is declared, 0 without one."""
    if not part.numeric_AC.shape[1]:
        return np.zeros(len(part.local_A))
    amount: Float64 = np.abs(np.sinh(part.numeric_AC[:, 0]))
    return amount


def user_texts(config: ModelConfig, batch: UserBatch) -> UserTexts:
    """The distinct texts of each user with their statistics."""
    newest_B = newest_days(config, batch)
    vectors = [part.texts_TX for part in batch.modalities]
    starts = np.cumsum([0, *map(len, vectors)])
    found = [
        _of_modality(m, starts[m], part, newest_B)
        for m, (modality, part) in enumerate(zip(config.modalities, batch.modalities, strict=True))
        if not modality.snapshot
    ]
    owner_T, row_T, modality_T, statistics_TK = (
        (np.concatenate(columns) for columns in zip(*found, strict=True)) if found else _nothing()
    )
    order = np.lexsort((row_T, modality_T, statistics_TK[:, ORDER], owner_T))
    counts_B = np.bincount(owner_T, minlength=batch.num_users)
    return UserTexts(
        vectors_VX=np.concatenate(vectors),
        modality_V=np.repeat(np.arange(len(vectors)), np.diff(starts)),
        row_T=row_T[order],
        modality_T=modality_T[order],
        offsets_B1=np.concatenate([[0], np.cumsum(counts_B)]).astype(np.int64),
        statistics_TK=statistics_TK[order],
    )


def _nothing() -> Sequence[np.ndarray]:
    return *np.zeros((3, 0), np.int64), np.zeros((0, NUM_STATISTICS))


def _of_modality(m: int, start: int, part: ModalityBatch, newest_B: Int64) -> tuple[Int64, Int64, Int64, Float64]:
    """Of the pairs of a user and a text: the user, the text's row, the modality, and the statistics (P, K)."""
    owner_A = part.owners_A
    age_A = newest_B[owner_A] - local_days(part)
    pairs_P, pair_A = np.unique(owner_A * len(part.texts_TX) + part.text_rows_A, return_inverse=True)
    num_pairs, longest = len(pairs_P), int(age_A.max(initial=0)) + 1
    # A day of a pair once, the newest first.
    pair_D, age_D = np.divmod(np.unique(pair_A * longest + age_A), longest)
    num_days_P = np.bincount(pair_D, minlength=num_pairs)
    ends_P = np.cumsum(num_days_P)
    newest_P, oldest_P = age_D[ends_P - num_days_P], age_D[ends_P - 1]
    statistics = np.empty((num_pairs, NUM_STATISTICS))
    statistics[:, DAYS] = num_days_P
    statistics[:, EVENTS] = np.bincount(pair_A, minlength=num_pairs)
    # Looked up, so that a power's last bits do not depend on where it stands in an array.
    ages = np.arange(longest, dtype=np.float64)
    statistics[:, DECAYED] = np.stack(
        [np.bincount(pair_D, (0.5 ** (ages / half_life))[age_D], num_pairs) for half_life in HALF_LIVES], axis=1
    )
    statistics[:, AGE] = newest_P
    statistics[:, AMOUNT] = np.bincount(pair_A, amounts(part), num_pairs)
    statistics[:, GAP] = (oldest_P - newest_P) / np.maximum(num_days_P - 1, 1)
    owner_P, text_P = np.divmod(pairs_P, max(len(part.texts_TX), 1))
    return owner_P, start + text_P, np.full(num_pairs, m), statistics
