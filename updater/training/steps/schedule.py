"""AdamW and its learning rate: a pure function of the step."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from updater.domain.declared.training import Training
from updater.training.steps.checkpoints import trained_parameters

BETAS = 0.9, 0.98
"""Of AdamW, as in the code of arXiv 2602.14492."""

KEYS_RATE = 0.2
"""Learning rate of the maps to keys as a share of the others'."""


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
            group["lr"] = self.rate(step) * group["scale"]


def make_optimizer(module: nn.Module, options: Training) -> torch.optim.AdamW:
    """AdamW whose decay spares vectors: norms, biases and learned tokens.

    The maps from texts and questions to keys learn at a lower rate: they begin fitted, and learn the asked questions by
    rote.
    """
    named = trained_parameters(module)
    keys = [p for name, p in named.items() if name.endswith("_keys.linear.weight")]
    fitted = {id(p) for p in keys}
    others = [p for p in named.values() if id(p) not in fitted]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": options.weight_decay, "scale": 1.0},
        {"params": keys, "weight_decay": 0.0, "scale": KEYS_RATE},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0, "scale": 1.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=options.learning_rate, betas=BETAS)
