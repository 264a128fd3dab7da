"""Whether training multiplies in bfloat16."""

from contextlib import AbstractContextManager, nullcontext

import torch

from updater.domain.declared.training import Training
from updater.model.layers.torch_internals import has_bfloat16


def autocast(options: Training, pretrained: bool) -> AbstractContextManager[object]:
    """bfloat16 products where they are asked for, or where they pay: wide layers on a processor that has them."""
    on = options.precision == "bfloat16" or (options.precision == "auto" and pretrained and has_bfloat16())
    return torch.autocast("cpu", torch.bfloat16) if on else nullcontext()
