"""The published layout: [instruction][user][modality summaries][per modality: start marker, event tokens].

The question's words come last, and <USER_EMB> is the same for all users (arXiv 2602.14492).
"""

# B users, S questions, M modalities, I instruction tokens, F summary features, D model width

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from updater.model.batch import Int64, UserBatch
from updater.model.config import ModelConfig
from updater.model.layers.event_adapter import Adapter
from updater.model.layouts.layout import Add, PackedRows, Run, Shifts, assemble, run_module
from updater.model.layouts.paper_features import (
    event_dim,
    event_features,
    newest_event,
    newest_rows,
    summary_dim,
    summary_features,
)


@dataclass(frozen=True)
class PaperUsers:
    """What is known of B users before a question is asked."""

    batch: UserBatch

    def select(self, users: Int64) -> "PaperUsers":
        """The users at `users`."""
        return PaperUsers(self.batch.select(users))


class PaperLayout(nn.Module):
    """Adapters and learned tokens.

    Every user has the user token and all M summary tokens; an absent modality's is a learned constant. A modality's
    start marker and event tokens are there only for users with events of it.
    """

    def __init__(self, config: ModelConfig, width: int, instruction: Callable[[], Tensor]) -> None:
        """`instruction` gives the input embeddings of the instruction as they are now, (I, D)."""
        super().__init__()
        self.config = config
        num_modalities, hidden, text_dim = len(config.modalities), config.adapter_dim, config.text_dim
        self.event_adapters = nn.ModuleList(
            Adapter(event_dim(config, modality), hidden, width, text_dim) for modality in config.modalities
        )
        self.modality_adapter = Adapter(summary_dim(config), hidden, width, text_dim)
        self.user_adapter = Adapter(summary_dim(config), hidden, width, text_dim)
        self.modality_MD = nn.Parameter(torch.randn(num_modalities, width) * 0.02)
        self.absent_MD = nn.Parameter(torch.randn(num_modalities, width) * 0.02)
        self.marker_MD = nn.Parameter(torch.randn(num_modalities, width) * 0.02)
        self._instruction = instruction

    def served(self) -> list[nn.Module]:
        """The modules with weights that are applied to rows."""
        return [*self.event_adapters, self.modality_adapter, self.user_adapter]

    def lengths(self, users: PaperUsers) -> Int64:
        """Tokens of each user's prefix, shape (B,)."""
        config, batch = self.config, users.batch
        fixed = len(self._instruction()) + config.user_token + config.modality_tokens * len(config.modalities)
        lengths_B = np.full(batch.num_users, fixed, dtype=np.int64)
        for modality, part in zip(config.modalities, batch.modalities, strict=True):
            counts_B = np.minimum(part.counts_B, modality.max_events)
            lengths_B += counts_B + (counts_B > 0)
        return lengths_B

    def users(self, batch: UserBatch, run: Run = run_module) -> PaperUsers:
        """The users as they are."""
        return PaperUsers(batch)

    def ends(self, users: PaperUsers, questions_SX: Tensor, shifts: Shifts, run: Run, add: Add) -> Tensor:
        """Zeros: <USER_EMB> is given nothing."""
        return questions_SX.new_zeros(users.batch.num_users, len(questions_SX), self.marker_MD.shape[1])

    def rows(
        self,
        users: PaperUsers,
        words: Sequence[Tensor],
        ends_BSD: Tensor,
        run: Run = run_module,
        most_texts: int | None = None,
    ) -> PackedRows:
        """The prefix above, then the questions."""
        config, batch, num_users = self.config, users.batch, users.batch.num_users
        instruction_ID, newest_B = self._instruction(), newest_event(batch)
        tables = [instruction_ID, self.marker_MD, *self._summaries(batch, newest_B, run)]
        starts = np.cumsum([0, *map(len, tables)]).tolist()
        user = np.arange(num_users)
        pieces: list[tuple[Any, Any]] = [(0, len(instruction_ID)), (starts[2] + user, int(config.user_token))]
        pieces += [(start + user, int(config.modality_tokens)) for start in starts[3:-1]]
        place = starts[-1]
        for m, (modality, part) in enumerate(zip(config.modalities, batch.modalities, strict=True)):
            rows_N, counts_B = newest_rows(part, modality.max_events)
            features = self._tensor(event_features(config, modality, part, rows_N, newest_B))
            tables.append(run(self.event_adapters[m], features))
            pieces += [(starts[1] + m, counts_B > 0), (place + np.cumsum(counts_B) - counts_B, counts_B)]
            place += len(rows_N)
        return assemble(tables, pieces, words, ends_BSD)

    def _summaries(self, batch: UserBatch, newest_B: np.ndarray, run: Run) -> list[Tensor]:
        """The user tokens, and per modality its summary tokens, all (B, D)."""
        features = [
            self._tensor(summary_features(self.config, modality, part, newest_B))
            for modality, part in zip(self.config.modalities, batch.modalities, strict=True)
        ]
        present = [self._tensor(part.counts_B > 0)[:, None] for part in batch.modalities]
        number_B1 = torch.stack(present).sum(dim=0).clamp(min=1)
        tokens = [run(self.user_adapter, torch.stack(features).sum(dim=0) / number_B1)]
        for m, features_BF in enumerate(features):
            token_BD = run(self.modality_adapter, features_BF) + self.modality_MD[m]
            tokens.append(torch.where(present[m], token_BD, self.absent_MD[m]))
        return tokens

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.marker_MD.device)
