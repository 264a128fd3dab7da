"""The user prefix: [instruction][user][modality summaries][per modality: start marker, event tokens]."""

# B users, M modalities, S summary columns, D model width, I instruction tokens, Q rows of all suffixes, T rows of all
# users

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from updater.model.batch import Float64, Int64, UserBatch, segment_rows
from updater.model.config import ModelConfig
from updater.model.event_adapter import Adapter, StraightAdapter
from updater.model.event_topics import EventTopics, topic_counts
from updater.model.features import event_dim, event_features, newest_event, summary_features
from updater.model.summary_projection import SummaryProjection, projected_dim

Run = Callable[[nn.Module, Tensor], Tensor]
"""Applies a module to rows: directly in training, in calls of fixed shape in serving."""


def run_module(module: nn.Module, rows: Tensor) -> Tensor:
    """Apply `module` to all rows at once, with autograd."""
    result: Tensor = module(rows)
    return result


NO_COLUMNS = torch.zeros(0, 0)


@dataclass(frozen=True)
class PackedRows:
    """Input embeddings of several users, each [prefix][all suffixes], users one after the other."""

    rows_TD: Tensor
    prefix_lengths_B: Int64
    columns_BS: Tensor = NO_COLUMNS
    """What the user tokens are made from, for the head to hear as each question weighs it."""


class UserPrefix(nn.Module):
    """Adapters and learned tokens that turn a UserBatch into input embeddings.

    Every user has the user token and all M summary tokens; an absent modality's is a learned constant. A modality's
    start marker and event tokens are there only for users with events of it.
    """

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.config = config
        num_modalities, hidden, text_dim = len(config.modalities), config.adapter_dim, config.text_dim
        self.event_adapters = nn.ModuleList(
            Adapter(event_dim(config, modality), hidden, width, text_dim) for modality in config.modalities
        )
        self.event_topics = nn.ModuleList(
            EventTopics(text_dim, config.num_topics(modality)) for modality in config.modalities
        )
        self.summary_projections = nn.ModuleList(SummaryProjection(config, modality) for modality in config.modalities)
        sizes = [projected_dim(config, modality) for modality in config.modalities]
        self.num_columns = sum(sizes)
        self._places = [slice(end - size, end) for size, end in zip(sizes, np.cumsum(sizes).tolist(), strict=True)]
        self.modality_adapter = StraightAdapter(self.num_columns, hidden, width, nn.GELU())
        self.user_adapter = StraightAdapter(self.num_columns, hidden, width, nn.GELU())
        self.modality_MD = nn.Parameter(torch.randn(num_modalities, width) * 0.02)
        self.absent_MD = nn.Parameter(torch.randn(num_modalities, width) * 0.02)
        self.marker_MD = nn.Parameter(torch.randn(num_modalities, width) * 0.02)

    def forward(
        self,
        batch: UserBatch,
        instruction_ID: Tensor,
        suffixes_QD: Tensor,
        run: Run = run_module,
        counts: Sequence[Float64] | None = None,
    ) -> PackedRows:
        """Lay out every user's prefix, followed by all suffixes; `counts` as in `features`."""
        config = self.config
        newest_B = newest_event(batch)
        columns_BS, summaries = self._summaries(batch, run, counts)
        user_BD = run(self.user_adapter, columns_BS)
        events = [
            run(adapter, self._tensor(event_features(config, modality, part, newest_B)))
            for adapter, modality, part in zip(self.event_adapters, config.modalities, batch.modalities, strict=True)
        ]
        table = torch.cat([instruction_ID, suffixes_QD, self.marker_MD, user_BD, *summaries, *events])
        starts, lengths = self._segments(batch, len(instruction_ID), len(suffixes_QD))
        rows = self._tensor(segment_rows(starts.ravel(), lengths.ravel()))
        return PackedRows(table.index_select(0, rows), lengths[:, :-1].sum(axis=1), columns_BS)

    def user_tokens(self, batch: UserBatch) -> Tensor:
        """The user tokens alone, with autograd, shape (B, D)."""
        user_BD: Tensor = self.user_adapter(self._summaries(batch, run_module)[0])
        return user_BD

    def count_topics(self, batch: UserBatch, run: Run = run_module) -> list[Float64]:
        """Per modality the users' events of each topic, (B, K)."""
        return [
            topic_counts(cast(EventTopics, topics), part, run)
            for topics, part in zip(self.event_topics, batch.modalities, strict=True)
        ]

    def features(
        self, batch: UserBatch, run: Run = run_module, counts: Sequence[Float64] | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per modality the summary features (B, summary_dim), and who has events of it (B,).

        `counts` are those of `count_topics`, if they are known: a batch that is worked on in parts has many texts in
        common.
        """
        newest_B = newest_event(batch)
        counts = self.count_topics(batch, run) if counts is None else counts
        return [
            summary_features(self.config, modality, part, newest_B, counts_BK)
            for modality, part, counts_BK in zip(self.config.modalities, batch.modalities, counts, strict=True)
        ]

    def fit(self, features: Sequence[Tensor]) -> None:
        """Fit each modality's projection to summary features of many users, (users, summary_dim)."""
        for projection, x in zip(self.summary_projections, features, strict=True):
            cast(SummaryProjection, projection).fit(x)

    def lengths(self, batch: UserBatch, num_instruction: int) -> Int64:
        """Tokens of each user's prefix, shape (B,)."""
        lengths: Int64 = self._segments(batch, num_instruction, 0)[1].sum(axis=1)
        return lengths

    def _summaries(
        self, batch: UserBatch, run: Run, counts: Sequence[Float64] | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """What user tokens are made from (B, S), zeros for a user without any event, and per modality its summary
        tokens (B, D).
        """
        projected, present = [], []
        for projection, (x, present_B) in zip(self.summary_projections, self.features(batch, run, counts), strict=True):
            present.append(self._tensor(present_B[:, None]))
            projected.append(torch.where(present[-1], run(projection, self._tensor(x)), 0.0))
        columns_BS = torch.cat(projected, dim=1)
        tokens = []
        for m, place in enumerate(self._places):
            own_BS = torch.zeros_like(columns_BS)
            own_BS[:, place] = projected[m]
            token_BD = run(self.modality_adapter, own_BS) + self.modality_MD[m]
            tokens.append(torch.where(present[m], token_BD, self.absent_MD[m]))
        return columns_BS, tokens

    def _segments(self, batch: UserBatch, num_instruction: int, num_suffix: int) -> tuple[Int64, Int64]:
        """Where in `forward`'s table each piece of a user starts, and how long it is; both (B, 2 M + M + 3)."""
        num_users, num_modalities = batch.num_users, len(batch.modalities)
        user = np.arange(num_users)
        has_user = np.full(num_users, self.config.user_token)
        has_summary = np.full(num_users, self.config.modality_tokens)
        marker_row = num_instruction + num_suffix
        user_row = marker_row + num_modalities
        summary_row = user_row + num_users
        event_row = summary_row + num_modalities * num_users
        pieces = [(np.zeros(num_users), np.full(num_users, num_instruction)), (user_row + user, has_user)]
        pieces += [(summary_row + m * num_users + user, has_summary) for m in range(num_modalities)]
        for m, part in enumerate(batch.modalities):
            counts = np.diff(part.offsets_B1)
            pieces.append((np.full(num_users, marker_row + m), counts > 0))
            pieces.append((event_row + part.offsets_B1[:-1], counts))
            event_row += len(part.times_N)
        pieces.append((np.full(num_users, num_instruction), np.full(num_users, num_suffix)))
        starts, lengths = zip(*pieces, strict=True)
        return np.stack(starts, axis=1).astype(np.int64), np.stack(lengths, axis=1).astype(np.int64)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.marker_MD.device)
