"""The layout of question-anchored counts: [user][profile of each snapshot][one token per distinct text]…

What <USER_EMB> is given is the question's vector, what the question counts of the user's texts, and the user token.
"""

# B users, S questions, T texts of all users, N those that are tokens, M modalities, X text_dim, D model width

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from updater.model.anchored_counts import AnchoredCounts, Likeness, sum_padded, summed
from updater.model.batch import Int64, UserBatch, segment_rows
from updater.model.config import ModelConfig
from updater.model.event_adapter import StraightAdapter
from updater.model.standardisation import Centring, Standardisation
from updater.model.text_statistics import NUM_STATISTICS, UserTexts, user_texts
from updater.model.user_columns import num_columns, user_columns
from updater.model.user_prefix import PackedRows, Run, run_module

TEXT_HIDDEN = 64
Sum = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class UserInputs:
    """What is known of B users before a question is asked."""

    batch: UserBatch
    texts: UserTexts
    centred_VX: Tensor
    """Centred vectors of the distinct texts of all users."""
    user_BD: Tensor
    """User tokens."""


class AnchoredLayout(nn.Module):
    """Adapters, kernels and fitted constants."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.config = config
        text_dim, columns = config.text_dim, num_columns(config)
        self.text_centring = Centring(text_dim)
        self.question_centring = Centring(text_dim)
        self.user_adapter = nn.Sequential(
            Standardisation(columns), StraightAdapter(columns, config.adapter_dim, width, nn.GELU())
        )
        self.text_linear = nn.Linear(text_dim, width)
        self.statistics_adapter = nn.Sequential(
            Standardisation(NUM_STATISTICS),
            nn.Linear(NUM_STATISTICS, TEXT_HIDDEN),
            nn.GELU(),
            nn.Linear(TEXT_HIDDEN, width),
        )
        self.modality_MD = nn.Parameter(torch.randn(len(config.modalities), width) * 0.02)
        self.absent_MD = nn.Parameter(torch.randn(len(config.modalities), width) * 0.02)
        self.profile_linear = nn.Linear(text_dim, width)
        self.question_linear = nn.Linear(text_dim, width)
        self.counts = AnchoredCounts(text_dim, width)
        self._snapshots = [m for m, modality in enumerate(config.modalities) if modality.snapshot]

    def fit(self, batches: Iterable[UserBatch], questions_SX: Tensor) -> None:
        """Fit all constants to users and questions, whatever the order of the users' batches."""
        texts: dict[bytes, np.ndarray] = {}
        columns, statistics = [], []
        for batch in batches:
            known = user_texts(self.config, batch)
            used = known.vectors_VX[np.unique(known.row_T)]
            texts.update((vector.tobytes(), vector) for vector in used)
            columns.append(torch.from_numpy(user_columns(self.config, batch)))
            statistics.append(torch.from_numpy(np.log1p(known.statistics_TK)))
        self.question_centring.fit(questions_SX)
        if not texts:
            return
        vectors_NX = torch.from_numpy(np.stack([texts[key] for key in sorted(texts)]))
        self.text_centring.fit(vectors_NX)
        self.counts.fit(self.text_centring(vectors_NX))
        cast(Standardisation, self.user_adapter[0]).fit(columns)
        cast(Standardisation, self.statistics_adapter[0]).fit(statistics)

    def users(self, batch: UserBatch, run: Run = run_module) -> UserInputs:
        """Read B users."""
        texts = user_texts(self.config, batch)
        columns_BC = self._tensor(user_columns(self.config, batch).astype(np.float32))
        return UserInputs(
            batch,
            texts,
            run(self.text_centring, self._tensor(texts.vectors_VX)),
            run(self.user_adapter, columns_BC),
        )

    def ends(self, users: UserInputs, questions_SX: Tensor, run: Run = run_module, add: Sum = sum_padded) -> Tensor:
        """What <USER_EMB> is given beside its learned vector, per user and question: shape (B, S, D)."""
        counts, texts = self.counts, users.texts
        likeness = Likeness(counts.kernels, run(counts.question_keys, questions_SX))
        keys_TH = run(counts.text_keys, users.centred_VX)[self._tensor(texts.row_T)]
        weights_TW = run(likeness, keys_TH)
        sums_BWK = add(weights_TW, self._tensor(summed(texts)), self._tensor(texts.offsets_B1))
        num_users, num_questions = len(sums_BWK), len(questions_SX)
        numbers_RN = run(counts.numbers, sums_BWK.reshape(num_users * num_questions, -1))
        counted_BSD = run(counts.adapter, numbers_RN).view(num_users, num_questions, -1)
        return counted_BSD + run(self.question_linear, questions_SX) + users.user_BD[:, None]

    def lengths(self, batch: UserBatch) -> Int64:
        """Tokens of each user's prefix, shape (B,)."""
        counts_B = np.diff(user_texts(self.config, batch).offsets_B1)
        lengths: Int64 = 1 + len(self._snapshots) + np.minimum(counts_B, self.config.max_texts)
        return lengths

    def rows(self, users: UserInputs, ends_BSD: Tensor, words: Sequence[Tensor], run: Run = run_module) -> PackedRows:
        """Input embeddings of users, each [prefix][words of question 1][its end]…, users one after the other."""
        texts, num_users = users.texts, len(users.user_BD)
        newest_N = texts.newest(self.config.max_texts)
        statistics_NK = np.log1p(texts.statistics_TK[newest_N]).astype(np.float32)
        tokens_ND = (
            run(self.text_linear, users.centred_VX)[self._tensor(texts.row_T[newest_N])]
            + run(self.statistics_adapter, self._tensor(statistics_NK))
            + self.modality_MD[self._tensor(texts.modality_T[newest_N])]
        )
        profiles = self._profiles(users, run)
        table = torch.cat([users.user_BD, *profiles, tokens_ND, *words, ends_BSD.flatten(0, 1)])
        user = np.arange(num_users)
        counts_B = np.minimum(np.diff(texts.offsets_B1), self.config.max_texts)
        pieces = [(user + p * num_users, np.ones(num_users)) for p in range(1 + len(profiles))]
        start = (1 + len(profiles)) * num_users
        pieces.append((start + np.cumsum(counts_B) - counts_B, counts_B))
        start += len(tokens_ND)
        end = start + sum(map(len, words))
        for question, rows in enumerate(words):
            pieces.append((np.full(num_users, start), np.full(num_users, len(rows))))
            pieces.append((end + user * len(words) + question, np.ones(num_users)))
            start += len(rows)
        starts, lengths = (np.stack(each, axis=1).astype(np.int64) for each in zip(*pieces, strict=True))
        index = self._tensor(segment_rows(starts.ravel(), lengths.ravel()))
        return PackedRows(table.index_select(0, index), 1 + len(profiles) + counts_B)

    def _profiles(self, users: UserInputs, run: Run) -> list[Tensor]:
        """Per snapshot modality the token of each user (B, D): the mean of its rows."""
        tokens = []
        starts = np.cumsum([0, *(len(part.texts_TX) for part in users.batch.modalities)])
        for m in self._snapshots:
            part = users.batch.modalities[m]
            vectors = run(self.profile_linear, users.centred_VX[starts[m] : starts[m + 1]])
            present_B1 = self._tensor(part.num_events_B > 0)[:, None]
            if not len(vectors):
                tokens.append(self.absent_MD[m].expand(len(part.num_events_B), -1))
                continue
            rows, offsets = self._tensor(part.text_rows_A), self._tensor(part.text_offsets_B1)
            mean_BD = embedding_bag(rows, vectors, offsets, mode="mean", include_last_offset=True)
            tokens.append(torch.where(present_B1, mean_BD + self.modality_MD[m], self.absent_MD[m]))
        return tokens

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.modality_MD.device)
