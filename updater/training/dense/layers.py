"""Putting the backbone's layers into training so that they change nothing before they have learned something."""

import torch
from torch import nn

from updater.domain.declared.training import Training
from updater.model.user_model import UserModel
from updater.training.steps.lora import add_adapters, merge_adapters

OUTPUTS = ("o_proj", "down_proj")
"""The projections by which a layer adds to the residual stream."""


def begin_layers(model: UserModel, options: Training) -> None:
    """Make the layers trainable: of a random backbone all, with outputs of zero, of a pretrained one adapters."""
    if is_pretrained(model):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            add_adapters(model, options)
        return
    model.backbone.requires_grad_(True)
    silence_layers(model)


@torch.no_grad()
def silence_layers(model: UserModel) -> None:
    """Let no layer add anything: their output projections become zero."""
    for name, module in model.backbone.named_modules():
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in OUTPUTS:
            module.weight.zero_()
            if module.bias is not None:
                module.bias.zero_()


def end_layers(model: UserModel) -> None:
    """What serving needs: adapters are merged."""
    if is_pretrained(model):
        merge_adapters(model)


def has_layers(model: UserModel) -> bool:
    """False for a model without a backbone."""
    return model.config.backbone != "none"


def is_pretrained(model: UserModel) -> bool:
    """True for a backbone that was trained by somebody else."""
    return model.config.backbone not in ("tiny", "none")
