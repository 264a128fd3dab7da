"""Low-rank adapters for a pretrained backbone, through peft: trained beside frozen weights, merged for serving."""

from typing import Any

from updater.domain.declared.training import Training
from updater.errors import ConfigError
from updater.model.user_model import UserModel

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The projections that the published code adapts."""


def add_adapters(model: UserModel, options: Training) -> None:
    """Freeze the backbone and put adapters on its projections, in place. All else of the model stays trainable.

    Raises:
        ConfigError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError:
        raise ConfigError("Training a pretrained backbone needs peft; run: pip install 'updater[train]'.") from None
    model.backbone.requires_grad_(False)
    config = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=list(TARGETS),
        bias="none",
    )
    inject_adapter_in_model(config, model.backbone)


def merge_adapters(model: UserModel) -> None:
    """Add the adapters to the weights that they adapt and take them away, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.backbone.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.backbone.get_submodule(parent), child, layer.get_base_layer())
    model.backbone.requires_grad_(True)
