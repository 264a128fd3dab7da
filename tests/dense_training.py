"""A table of dense answers over made-up profiles, and a network that learns it in the place of a user model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from updater.domain.declared.training import Training
from updater.training.dense.labels.outcomes import Outcomes
from updater.training.dense.labels.questions import Question
from updater.training.dense.labels.table import DenseTable, make_table

ANCHORS = (date(2024, 3, 1), date(2024, 3, 8))
VALID = date(2024, 5, 1)
WIDTH, TEXT_DIM, EMBEDDING_DIM, VALUES = 5, 7, 6, ("milk", "tea", "bread", "eggs")
QUESTIONS = [
    *(Question("events", "bill", "category", value) for value in VALUES),
    *(Question(measure, "bill") for measure in ("days", "kinds", "new_kinds")),
]

TERSE = {text: question.text for question in QUESTIONS for text in question.texts}
"""An encoder to which all wordings of a question are one."""


@dataclass(frozen=True)
class MadeUpProfiles:
    """What training asks of `Profiles`, over numbers in the place of events."""

    anchor: date
    users: np.ndarray
    x_UD: Tensor

    def batch(self, rows: np.ndarray) -> Any:
        return self.x_UD[torch.from_numpy(rows)]

    def num_tokens(self, row: int) -> int:
        return row % 7


class StandIn(nn.Module):
    """Keeps the contract of a user model; dropout and layers as it has them."""

    def __init__(self, backbone: str = "tiny", seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.config = SimpleNamespace(backbone=backbone, embedding_dim=EMBEDDING_DIM)
            self.users, self.questions = nn.Linear(WIDTH, EMBEDDING_DIM), nn.Linear(TEXT_DIM, EMBEDDING_DIM)
            self.head = nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM)
            self.backbone = nn.ModuleDict({"q_proj": nn.Linear(6, 6), "o_proj": nn.Linear(6, 6, bias=False)})
        self.soft_prompts, self.prototypes = nn.ParameterDict(), nn.ParameterDict()
        self.asked: list[Sequence[str]] = []

    def question_vectors(self, queries: Sequence[str]) -> Tensor:
        known = [TERSE.get(query, query) for query in queries]
        made = [np.random.default_rng([*query.encode()]).standard_normal(TEXT_DIM) for query in known]
        return nn.functional.normalize(torch.tensor(np.array(made), dtype=torch.float32), dim=1)

    def train_forward(self, batch: Any, queries: Sequence[str], *, layers: bool = True) -> Tensor:
        self.asked.append(tuple(queries))
        states = self.users(batch)[:, None] * (1 + self.questions(self.question_vectors(queries)))
        states = nn.functional.dropout(states, 0.1, self.training)
        if layers:
            states = states + self.backbone["o_proj"](torch.tanh(self.backbone["q_proj"](states)))
        return self.head(states)


def make_answers(num_users: int = 60, valid: bool = True) -> DenseTable:
    """Answers that follow from the profiles, with some chance; every ninth share is unknown."""
    profiles, outcomes = {}, {}
    weights = np.random.default_rng(1).standard_normal((WIDTH, len(QUESTIONS)))
    for anchor in (*ANCHORS, VALID):
        rng = np.random.default_rng(anchor.toordinal())
        x_UD = rng.standard_normal((num_users, WIDTH)).astype(np.float32)
        scores = x_UD @ weights + rng.standard_normal((num_users, len(QUESTIONS)))
        answers = sum(
            (scores[:, : len(VALUES)] > level).astype(np.uint8) << k for k, level in enumerate((0, 1, 2, 1, 0))
        )
        measures = scores[:, len(VALUES) :].astype(np.float32)
        measures[::9, 0] = np.nan
        users = np.array(sorted(f"u{n:02}" for n in range(num_users)))
        profiles[anchor] = MadeUpProfiles(anchor, users, torch.from_numpy(x_UD))
        outcomes[anchor] = Outcomes(np.asarray(answers, dtype=np.uint8), measures, np.ones(num_users, dtype=bool))
    everyone = np.arange(num_users)
    known: Any = profiles
    evaluated = {VALID: everyone} if valid else {}
    return make_table(QUESTIONS, outcomes, known, dict.fromkeys(ANCHORS, everyone), evaluated)


def make_options(**changes: Any) -> Training:
    """A few steps of a few users."""
    values: dict[str, Any] = {
        "steps": 6,
        "users_per_step": 8,
        "learning_rate": 1e-2,
        "layers_steps": 5,
        "layers_users_per_step": 4,
        "layers_learning_rate": 1e-2,
        "warmup_steps": 2,
        "questions_per_step": 4,
        "counted_questions": 2,
        "validate_every": 2,
        "save_every": 3,
        "precision": "float32",
    }
    return Training(**{**values, **changes})
