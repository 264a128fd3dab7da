"""Control models: the candidate's config without what its training learned."""

from collections.abc import Callable, Mapping
from pathlib import Path

from updater.model.checkpoint import create_model, save_model
from updater.model.config import ModelConfig
from updater.runtime.deployment import Context, Progress
from updater.store.scratch import Scratch
from updater.training.fitted import fitted_model


def _untrained(context: Context, config: ModelConfig, scratch: Scratch, progress: Progress) -> str:
    directory = str(Path(scratch.directory, "untrained"))
    save_model(create_model(config, config.seed), directory)
    return directory


def _fitted(context: Context, config: ModelConfig, scratch: Scratch, progress: Progress) -> str:
    return fitted_model(context, config, progress)


Control = Callable[[Context, ModelConfig, Scratch, Progress], str]
CONTROLS: Mapping[str, Control] = {"fitted": _fitted, "untrained": _untrained}
"""By system: from the candidate's config to the directory of a model, which is asked without soft prompts."""
