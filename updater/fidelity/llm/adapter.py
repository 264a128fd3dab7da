"""From a user's vector to soft tokens: the only weights that are trained, by the language model's loss on the letter.

The align stage of UQABench (arXiv 2502.19178, section 4): its adapter is one linear map to one token, and with the
encoder and the language model frozen nothing else learns.
"""

# Q questions, B of a batch, C columns of a vector, S soft tokens, D width of the language model, K letters

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from updater.errors import ConfigError
from updater.language_models.causal import LanguageModel
from updater.runtime.deployment import Progress, no_progress

BATCH = 8
LEARNING_RATE = 0.8
"""Divided by a vector's columns: AdamW moves every weight by about the rate, and a soft token is a sum over columns."""
CLIP_NORM = 1.0
LEAST_STD = 1e-6
"""A column that varies less among the training questions is constant."""


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions as a language model reads them."""

    prompts: Sequence[Sequence[int]]
    """Token ids of each."""
    vectors_QC: NDArray[np.float32]
    """The vector of the user who is asked about, shape (Q, C)."""
    gold: NDArray[np.int64]
    """Position of the right letter."""
    num_options: NDArray[np.int64]
    """How many letters the question offers."""

    def __len__(self) -> int:
        return len(self.prompts)


class Adapter(nn.Module):
    """Standardizes a vector and maps it to soft tokens, linearly. The tokens begin as large as a word's embedding."""

    mean_C: Tensor
    std_C: Tensor

    def __init__(self, vectors_QC: Tensor, num_tokens: int, width: int, word_scale: float) -> None:
        super().__init__()
        columns = vectors_QC.shape[1]
        self.shape = (num_tokens, width)
        self.word_scale = word_scale
        self.linear = nn.Linear(columns, num_tokens * width)
        nn.init.normal_(self.linear.weight, std=columns**-0.5)
        nn.init.normal_(self.linear.bias, std=1.0)
        self.register_buffer("mean_C", vectors_QC.mean(dim=0))
        std_C = vectors_QC.std(dim=0, correction=0)
        self.register_buffer("std_C", torch.where(std_C < LEAST_STD, torch.inf, std_C))

    def forward(self, vectors_BC: Tensor) -> Tensor:
        """Soft tokens, shape (B, S, D)."""
        soft: Tensor = self.word_scale * self.linear((vectors_BC - self.mean_C) / self.std_C)
        return soft.reshape(-1, *self.shape)


def train_adapter(
    model: LanguageModel,
    asked: Asked,
    *,
    num_tokens: int = 1,
    steps: int,
    seed: int,
    progress: Progress = no_progress,
) -> Adapter:
    """An adapter that has learned from `asked`; the same bytes for the same arguments on a CPU.

    AdamW, with a learning rate that falls linearly to zero. The loss is minus the log probability of the right letter
    among all tokens of the vocabulary.

    Raises:
        ConfigError: there is no question to learn from.
    """
    if not len(asked):
        raise ConfigError("no question of a training user is there to train the adapter on; ask more users.")
    letters = model.letter_tokens(int(asked.num_options.max()))
    vectors_QC, gold_Q = (torch.from_numpy(each).to(model.device) for each in (asked.vectors_QC, asked.gold))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = Adapter(vectors_QC.cpu(), num_tokens, model.width, model.word_scale).to(model.device)
    rate = LEARNING_RATE / vectors_QC.shape[1]
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=rate)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / max(steps, 1))
    for step, rows in zip(range(steps), batches(len(asked), BATCH, seed), strict=False):
        log_probs_BK = model.letter_log_probs(adapter(vectors_QC[rows]), [asked.prompts[row] for row in rows], letters)
        loss = -log_probs_BK.gather(1, gold_Q[rows][:, None]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(adapter.parameters(), CLIP_NORM)
        optimizer.step()
        decay.step()
        progress("train adapter", step + 1, steps)
    return adapter.eval()


def choose(
    model: LanguageModel, adapter: Adapter | None, asked: Asked, progress: Progress = no_progress
) -> NDArray[np.int64]:
    """The position of the likeliest letter of those that each question offers, shape (Q,).

    Args:
        model: the reader.
        adapter: makes the soft tokens; without one the prompts stand alone.
        asked: the questions; their right answers are not looked at.
        progress: told of the questions that are done.
    """
    chosen = np.zeros(len(asked), dtype=np.int64)
    if not len(asked):
        return chosen
    letters = model.letter_tokens(int(asked.num_options.max()))
    # Prompts of a length stand together, so that little is padded.
    order = np.argsort([len(prompt) for prompt in asked.prompts], kind="stable")
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            vectors_BC = torch.from_numpy(asked.vectors_QC[rows]).to(model.device)
            soft_BSD = adapter(vectors_BC) if adapter else vectors_BC.new_zeros(len(rows), 0, model.width)
            log_probs_BK = model.letter_log_probs(soft_BSD, [asked.prompts[row] for row in rows], letters).cpu()
            offered_BK = torch.arange(len(letters)) < torch.from_numpy(asked.num_options[rows])[:, None]
            chosen[rows] = log_probs_BK.masked_fill(~offered_BK, -torch.inf).argmax(dim=1).numpy()
            progress("answer questions", start + len(rows), len(order))
    return chosen


def batches(total: int, size: int, seed: int) -> Iterator[list[int]]:
    """Rows of endless batches: all of them in a new order, again and again."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(total)
        for start in range(0, total, size):
            yield order[start : start + size].tolist()
