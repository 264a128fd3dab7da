"""Where the model computes. Texts are encoded on the CPU, always: their vectors are kept, and compared to the bit."""

from updater.errors import ConfigError
from updater.settings import Settings

AUTO = "auto"


def model_device(settings: Settings, named: str = "model.device") -> str:
    """The device of `[model] device` as PyTorch names it; `auto` is the first CUDA device, else the CPU.

    Args:
        settings: the config.
        named: what gave the value, for the message.

    Raises:
        ConfigError: this machine, or this PyTorch, has no such device.
    """
    where = "" if named.startswith("-") else f" in {settings.source}"
    return available_device(settings.model.device, named, where)


def available_device(device: str, named: str, where: str = "") -> str:
    """As `model_device`, of a device that no config names.

    Args:
        device: `cpu`, `cuda`, `cuda:N` or `auto`.
        named: what gave the value, for the message.
        where: where that stands, for the message.

    Raises:
        ConfigError: this machine, or this PyTorch, has no such device.
    """
    if device == "cpu":
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == AUTO:
        return "cuda" if count else "cpu"
    if int(device.partition(":")[2] or 0) >= count:
        seen = f"CUDA devices cuda:0 to cuda:{count - 1}" if count > 1 else "one CUDA device, cuda:0" if count else ""
        remedy = "use one of these, cpu or auto." if count else "use cpu or auto, or a machine and a PyTorch with CUDA."
        raise ConfigError(f"{named} is {device!r}{where}, but PyTorch sees {seen or 'no CUDA device'} here; {remedy}")
    return device
