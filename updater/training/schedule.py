"""AdamW and its learning rate: a pure function of the step."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from updater.domain.training import Training
from updater.training.checkpoints import trained_parameters

BETAS = 0.9, 0.98
"""Of AdamW, as in the code of arXiv 2602.14492."""


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to `peak`, then cosine decay to zero."""

    steps: int
    peak: float
    warmup_steps: int

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        warmup = min(self.warmup_steps, self.steps)
        if step < warmup:
            return self.peak * (step + 1) / warmup
        return self.peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))

    def set(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Give `optimizer` the rate of a step."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(step)


def make_optimizer(module: nn.Module, options: Training) -> torch.optim.AdamW:
    """AdamW whose decay spares vectors: norms, biases and learned tokens."""
    parameters = trained_parameters(module).values()
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS)
