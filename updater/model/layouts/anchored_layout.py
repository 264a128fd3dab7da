"""The layout of question-anchored counts: [user][profile of each snapshot][one token per distinct text]…

What <USER_EMB> is given is the question's vector, what the question counts of the user's texts, and the user token.
"""

# B users, S questions, T texts of all users, N those that are tokens, M modalities, X text_dim, D model width

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from updater.model.batch import Int64, ModalityBatch, UserBatch
from updater.model.config import ModelConfig
from updater.model.layers.event_adapter import LinearResidualMLP
from updater.model.layers.standardization import Centring, Standardization
from updater.model.layouts.anchored_counts import AnchoredCounts, Likeness, shifted, sum_padded, summed
from updater.model.layouts.layout import Add, PackedRows, Run, Shifts, assemble, run_module
from updater.model.layouts.text_statistics import NUM_STATISTICS, ORDER, UserTexts, user_texts
from updater.model.layouts.user_columns import num_columns, user_columns

TEXT_HIDDEN = 64
"""Hidden width of the adapter of a text's statistics."""


@dataclass(frozen=True)
class AnchoredUsers:
    """What is known of B users before a question is asked."""

    user_BD: Tensor
    """User tokens."""
    profiles: tuple[ModalityBatch, ...]
    """Their rows in the modalities that are snapshots."""
    texts: UserTexts

    def select(self, users: Int64) -> "AnchoredUsers":
        """The users at `users`."""
        profiles = tuple(part.select(users) for part in self.profiles)
        return AnchoredUsers(self.user_BD[users], profiles, self.texts.select(users))


class AnchoredLayout(nn.Module):
    """Adapters, kernels and fitted constants."""

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.config = config
        text_dim, columns = config.text_dim, num_columns(config)
        self.text_centring = Centring(text_dim)
        self.question_centring = Centring(text_dim)
        self.user_adapter = nn.Sequential(
            Standardization(columns), LinearResidualMLP(columns, config.adapter_dim, width, nn.GELU())
        )
        self.taste_adapter = nn.Sequential(
            Standardization(text_dim), LinearResidualMLP(text_dim, config.adapter_dim, width, nn.GELU())
        )
        self.text_linear = nn.Linear(text_dim, width)
        self.statistics_adapter = nn.Sequential(
            Standardization(NUM_STATISTICS),
            nn.Linear(NUM_STATISTICS, TEXT_HIDDEN),
            nn.GELU(),
            nn.Linear(TEXT_HIDDEN, width),
        )
        self.modality_MD = nn.Parameter(torch.randn(len(config.modalities), width) * 0.02)
        self.absent_MD = nn.Parameter(torch.randn(len(config.modalities), width) * 0.02)
        self.profile_linear = nn.Linear(text_dim, width)
        self.question_linear = nn.Linear(text_dim, width)
        self.counts = AnchoredCounts(text_dim, len(config.modalities), width)
        self._snapshots = [m for m, modality in enumerate(config.modalities) if modality.snapshot]

    def fit(self, batches: Iterable[UserBatch], questions_SX: Tensor) -> None:
        """Fit all constants to users and questions, whatever the order of the users' batches."""
        texts: dict[bytes, np.ndarray] = {}
        columns, statistics, seen = [], [], []
        for batch in batches:
            known = user_texts(self.config, batch)
            used = known.vectors_VX[np.unique(known.row_T)]
            texts.update((vector.tobytes(), vector) for vector in used)
            columns.append(torch.from_numpy(user_columns(self.config, batch)))
            statistics.append(torch.from_numpy(np.log1p(known.statistics_TK)))
            seen.append(known)
        self.question_centring.fit(questions_SX)
        if not texts:
            return
        vectors_NX = torch.from_numpy(np.stack([texts[key] for key in sorted(texts)]))
        self.text_centring.fit(vectors_NX)
        self.counts.fit(self.text_centring(vectors_NX))
        cast(Standardization, self.user_adapter[0]).fit(columns)
        cast(Standardization, self.statistics_adapter[0]).fit(statistics)
        cast(Standardization, self.taste_adapter[0]).fit([self.taste(known).double() for known in seen])

    def served(self) -> list[nn.Module]:
        """The modules with weights that are applied to rows."""
        counts = [self.counts.question_keys, self.counts.text_keys, self.counts.adapter]
        tokens = [self.user_adapter, self.taste_adapter, self.text_linear, self.statistics_adapter, self.profile_linear]
        return [*counts, *tokens, self.question_linear]

    def lengths(self, users: AnchoredUsers) -> Int64:
        """Tokens of each user's prefix, shape (B,)."""
        counts_B = np.diff(users.texts.offsets_B1)
        lengths: Int64 = 1 + len(self._snapshots) + np.minimum(counts_B, self.config.max_texts)
        return lengths

    def users(self, batch: UserBatch, run: Run = run_module) -> AnchoredUsers:
        """User tokens and texts of B users."""
        columns_BC = self._tensor(user_columns(self.config, batch).astype(np.float32))
        profiles = tuple(batch.modalities[m] for m in self._snapshots)
        texts = user_texts(self.config, batch)
        user_BD = run(self.user_adapter, columns_BC) + run(self.taste_adapter, self.taste(texts, run))
        return AnchoredUsers(user_BD, profiles, texts)

    def taste(self, texts: UserTexts, run: Run = run_module) -> Tensor:
        """What each user does, whatever is asked: the mean of the text vectors, (B, X); recent days weigh most."""
        offsets_B1 = self._tensor(texts.offsets_B1)
        weights_T = self._tensor(np.log1p(texts.statistics_TK[:, ORDER]).astype(np.float32))
        if not len(weights_T):
            return torch.zeros(len(offsets_B1) - 1, self.config.text_dim, device=offsets_B1.device)
        vectors_VX = run(self.text_centring, self._tensor(texts.vectors_VX))
        ones_V1 = vectors_VX.new_ones(len(vectors_VX), 1)
        total_BX, weight_B1 = (
            # A bag adds a user's texts in their order, whoever else is there.
            embedding_bag(
                self._tensor(texts.row_T),
                rows,
                offsets_B1,
                mode="sum",
                include_last_offset=True,
                per_sample_weights=weights_T,
            )
            for rows in (vectors_VX, ones_V1)
        )
        return total_BX / (1 + weight_B1)

    def ends(self, users: AnchoredUsers, questions_SX: Tensor, shifts: Shifts, run: Run, add: Add) -> Tensor:
        """What <USER_EMB> is given beside its learned vector, per user and question: shape (B, S, D)."""
        keys_SH = run(self.counts.question_keys, questions_SX)
        moved = [key if shift is None else shifted(key, shift) for key, shift in zip(keys_SH, shifts, strict=True)]
        numbers_BSN = self.numbers(users, torch.stack(moved), run, add)
        return self.counted(numbers_BSN, run) + self.uncounted(users.user_BD, questions_SX, run)

    def numbers(self, users: AnchoredUsers, keys_SH: Tensor, run: Run = run_module, add: Add = sum_padded) -> Tensor:
        """What questions with these keys count of each user, as numbers to learn from, (B, S, NUM_NUMBERS)."""
        counts, texts = self.counts, users.texts
        text_keys_VH = self.text_keys(texts, run)
        weights_TW = run(Likeness(counts.kernels, keys_SH), text_keys_VH[self._tensor(texts.row_T)])
        sums_BWK = add(weights_TW, self._tensor(summed(texts)), self._tensor(texts.offsets_B1))
        num_users, num_questions = len(sums_BWK), len(keys_SH)
        numbers_RN = run(counts.numbers, sums_BWK.reshape(num_users * num_questions, -1))
        return numbers_RN.view(num_users, num_questions, -1)

    def text_keys(self, texts: UserTexts, run: Run = run_module) -> Tensor:
        """Keys of the distinct texts, (V, H)."""
        vectors_VX = run(self.text_centring, self._tensor(texts.vectors_VX))
        modalities_VM = torch.eye(len(self.config.modalities), device=vectors_VX.device)[self._tensor(texts.modality_V)]
        return run(self.counts.text_keys, torch.cat([vectors_VX, modalities_VM], dim=1))

    def counted(self, numbers: Tensor, run: Run = run_module) -> Tensor:
        """What the numbers of counts (…, NUM_NUMBERS) add to <USER_EMB>, (…, D)."""
        return run(self.counts.adapter, numbers.flatten(0, -2)).view(*numbers.shape[:-1], -1)

    def uncounted(self, user_BD: Tensor, questions_SX: Tensor, run: Run = run_module) -> Tensor:
        """All else that <USER_EMB> is given, (B, S, D), with the user tokens."""
        return run(self.question_linear, questions_SX) + user_BD[:, None]

    def rows(
        self,
        users: AnchoredUsers,
        words: Sequence[Tensor],
        ends_BSD: Tensor,
        run: Run = run_module,
        most_texts: int | None = None,
    ) -> PackedRows:
        """[user][a token of each snapshot][a token of each text], then the questions."""
        texts, num_users = users.texts, len(users.user_BD)
        most = self.config.max_texts if most_texts is None else min(most_texts, self.config.max_texts)
        newest_N = texts.newest(most)
        words_VD = run(self.text_linear, run(self.text_centring, self._tensor(texts.vectors_VX)))
        statistics_NK = np.log1p(texts.statistics_TK[newest_N]).astype(np.float32)
        tokens_ND = (
            words_VD[self._tensor(texts.row_T[newest_N])]
            + run(self.statistics_adapter, self._tensor(statistics_NK))
            + self.modality_MD[self._tensor(texts.modality_T[newest_N])]
        )
        profiles = [self._profile(m, part, run) for m, part in zip(self._snapshots, users.profiles, strict=True)]
        first_B = np.arange(num_users)
        counts_B = np.minimum(np.diff(texts.offsets_B1), most)
        pieces: list[tuple[Any, Any]] = [(first_B + number * num_users, 1) for number in range(1 + len(profiles))]
        pieces.append(((1 + len(profiles)) * num_users + np.cumsum(counts_B) - counts_B, counts_B))
        return assemble([users.user_BD, *profiles, tokens_ND], pieces, words, ends_BSD)

    def _profile(self, m: int, part: ModalityBatch, run: Run) -> Tensor:
        """The token of each user in a snapshot modality, (B, D): the mean of its rows' texts."""
        absent_BD = self.absent_MD[m].expand(len(part.counts_B), -1)
        if not len(part.texts_TX):
            return absent_BD
        texts_TD = run(self.profile_linear, run(self.text_centring, self._tensor(part.texts_TX)))
        rows, offsets = self._tensor(part.text_rows_A), self._tensor(part.offsets_B1)
        # A bag adds a user's rows in their order, whoever else is there.
        mean_BD = embedding_bag(rows, texts_TD, offsets, mode="mean", include_last_offset=True)
        return torch.where(self._tensor(part.counts_B > 0)[:, None], mean_BD + self.modality_MD[m], absent_BD)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.modality_MD.device)
