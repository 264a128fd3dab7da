"""Control models: the candidate's config without what its training learned."""

from collections.abc import Callable, Mapping
from pathlib import Path

from updater.model.checkpoint import create_model, save_model, without_layers
from updater.model.user_model import UserModel
from updater.runtime.deployment import Progress, WritableContext
from updater.store.scratch import Scratch
from updater.training.fitted import fitted_model


def has_control(name: str, model: UserModel) -> bool:
    """True if a model has this control: `without_layers` is one of a model with layers that can do without them."""
    return name != "without_layers" or (model.config.layout == "anchored" and model.config.backbone != "none")


def _untrained(context: WritableContext, model: UserModel, scratch: Scratch, progress: Progress) -> str:
    directory = str(Path(scratch.directory, "untrained"))
    save_model(create_model(model.config, model.config.seed), directory)
    return directory


def _without_layers(context: WritableContext, model: UserModel, scratch: Scratch, progress: Progress) -> str:
    directory = str(Path(scratch.directory, "without_layers"))
    save_model(without_layers(model), directory)
    return directory


def _fitted(context: WritableContext, model: UserModel, scratch: Scratch, progress: Progress) -> str:
    return fitted_model(context, model.config, progress)


Control = Callable[[WritableContext, UserModel, Scratch, Progress], str]
CONTROLS: Mapping[str, Control] = {
    "without_layers": _without_layers,
    "fitted": _fitted,
    "untrained": _untrained,
}
"""By system: from the candidate to the directory of a model, which is asked without soft prompts."""
