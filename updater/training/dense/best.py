"""The best weights of a run so far, by its validation loss, in a file that outlasts a kill."""

import math
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from updater.lake import partitions

LOSS, STEP = "loss", "step"


class Best:
    """`<directory>/best.safetensors`: the parameters of a module after the step with the least loss."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "best.safetensors"
        self.loss, self.step = math.inf, 0
        if self.exists:
            with safe_open(self._path, "pt") as file:
                known = file.metadata() or {}
            self.loss, self.step = float(known[LOSS]), int(known[STEP])

    @property
    def exists(self) -> bool:
        """False until something was offered."""
        return self._path.exists()

    def offer(self, module: nn.Module, loss: float, step: int) -> None:
        """Keep `module`'s parameters if they are better; of equal ones the earlier stay, also if done again."""
        if (loss, step) >= (self.loss, self.step) and self.exists:
            return
        self.loss, self.step = loss, step
        self._path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: parameter.detach().contiguous() for name, parameter in module.named_parameters()}
        with partitions.write_file(str(self._path)) as file:
            file.write(save(tensors, {LOSS: repr(loss), STEP: str(step)}))

    @torch.no_grad()
    def restore(self, module: nn.Module) -> None:
        """Give `module` the best parameters."""
        with safe_open(self._path, "pt") as file:
            for name, parameter in module.named_parameters():
                parameter.copy_(file.get_tensor(name))

    def remove(self) -> None:
        """Once the model is written it is of no use."""
        self._path.unlink(missing_ok=True)
