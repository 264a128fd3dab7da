"""Checkpoints that training goes on from, bit for bit: trained weights, the optimizer's state, and the step.

`<directory>/step-NNNNNN.safetensors` holds all of it; the order of data and dropout follow from seed and step. Older
checkpoints are removed once a newer one is there.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from updater.errors import ConfigError
from updater.lake import partitions

WEIGHT, STATE, RECIPE = "weight/", "optimiser/", "recipe"


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def save_checkpoint(
    directory: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int, recipe: str
) -> None:
    """Write what training needs to go on after `step` steps. `recipe`: digest of everything else that decides."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in trained_parameters(module).items():
        tensors[WEIGHT + name] = parameter.detach().contiguous()
        for key, value in optimizer.state[parameter].items():
            tensors[f"{STATE}{key}/{name}"] = torch.as_tensor(value).contiguous()
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"step-{step:06d}.safetensors"
    with partitions.write_file(str(target)) as file:
        file.write(save(tensors, {RECIPE: recipe}))
    for old in sorted(directory.glob("step-*.safetensors"))[:-1]:
        if old != target:
            old.unlink(missing_ok=True)


def load_checkpoint(directory: Path, module: nn.Module, optimizer: torch.optim.Optimizer, recipe: str) -> int:
    """Restore the newest checkpoint in place.

    Returns:
        The steps that were done; 0 without a checkpoint.

    Raises:
        ConfigError: the checkpoint was made with another config or other data.
    """
    found = sorted(directory.glob("step-*.safetensors"))
    if not found:
        return 0
    with safe_open(found[-1], "pt") as file:
        if (file.metadata() or {}).get(RECIPE) != recipe:
            raise ConfigError(
                f"{found[-1]} was made with another config or other data; remove {directory} to train anew."
            )
        names = set(file.keys())
        for name, parameter in trained_parameters(module).items():
            with torch.no_grad():
                parameter.copy_(file.get_tensor(WEIGHT + name))
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if f"{STATE}{key}/{name}" in names:
                    optimizer.state[parameter][key] = file.get_tensor(f"{STATE}{key}/{name}")
    return int(found[-1].stem.removeprefix("step-"))


def remove_checkpoints(directory: Path) -> None:
    """Once the trained model is written they are of no use."""
    for path in directory.glob("step-*.safetensors"):
        path.unlink(missing_ok=True)
