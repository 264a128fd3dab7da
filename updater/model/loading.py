"""Backbones and encoders as Hugging Face models: float32, safetensors or GGUF only, nothing on standard error."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.initialization import no_init_weights
from transformers.utils import logging

from updater.errors import ConfigError
from updater.model.config import ModelConfig
from updater.model.layers.principal_axes import principal_axes
from updater.model.sources import gguf_model, hugging_face_config, is_gguf, locate, weight_files


def new_backbone(config: ModelConfig) -> Any:
    """The causal language model with initial weights: those of its source, or random ones for `tiny`.

    The tiny model shares the text encoder's vocabulary and begins with its words: their vectors' principal components,
    so that a word that training never showed still lies beside those it is like.

    Raises:
        ConfigError: the source is not there, or its weights do not fit the config.
    """
    if config.backbone == "none":
        return None
    if config.backbone == "tiny":
        backbone = AutoModelForCausalLM.from_config(_hugging_face(config.backbone_config), dtype=torch.float32)
        words = load_encoder(locate(config.text_encoder)).get_input_embeddings().weight
        with torch.no_grad():
            table = backbone.get_input_embeddings().weight
            table.copy_(_principal_components(words, table.shape[1]) * backbone.config.initializer_range)
        return backbone
    return _with_weights(config.backbone_config, locate(config.backbone))


def load_language_model(name: str) -> Any:
    """The whole causal language model of a packaged name, a directory or a Hugging Face id, in evaluation mode.

    No gradient reaches its weights.

    Raises:
        ConfigError: there is no such model, or its weights do not fit its config.
    """
    source = locate(name)
    return _with_weights(hugging_face_config(source), source).requires_grad_(False).eval()


def empty_backbone(config: ModelConfig) -> Any:
    """The causal language model with weights that are still to be filled in; None for the backbone `none`."""
    if config.backbone == "none":
        return None
    return _empty(config.backbone_config)


def load_encoder(directory: Path) -> Any:
    """A pretrained encoder in evaluation mode."""
    weight_files(directory)
    with _quiet():
        return AutoModel.from_pretrained(
            directory, use_safetensors=True, dtype=torch.float32, local_files_only=True
        ).eval()


def _principal_components(rows_WD: torch.Tensor, width: int) -> torch.Tensor:
    """The rows' first `width` principal components, shape (W, width), of unit variance together."""
    centred = rows_WD.detach().double()
    centred = centred - centred.mean(dim=0)
    components = centred @ principal_axes(centred, width)[1]
    if components.shape[1] < width:
        components = torch.nn.functional.pad(components, (0, width - components.shape[1]))
    scaled: torch.Tensor = (components / components.std()).float()
    return scaled


def _hugging_face(config: Mapping[str, Any]) -> Any:
    return AutoConfig.for_model(**config)


def _empty(config: Mapping[str, Any]) -> Any:
    with no_init_weights():
        backbone = AutoModelForCausalLM.from_config(_hugging_face(config), dtype=torch.float32)
    backbone.tie_weights()
    return backbone


def _with_weights(config: Mapping[str, Any], source: Path) -> Any:
    return _from_gguf(config, source) if is_gguf(source) else _from_directory(config, source)


def _from_gguf(config: Mapping[str, Any], source: Path) -> Any:
    backbone = _empty(config)
    weights = gguf_model(source).weights(config["num_hidden_layers"])
    backbone.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
    return backbone


def _from_directory(config: Mapping[str, Any], source: Path) -> Any:
    weight_files(source)
    # Layers that are not used would be reported as unexpected; weights that are missing only as a warning.
    with _quiet(logging.ERROR):
        backbone, info = AutoModelForCausalLM.from_pretrained(
            source,
            config=_hugging_face(config),
            use_safetensors=True,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    if wrong := sorted({*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}):
        raise ConfigError(
            f"the weights in {source} do not fit its config.json: {wrong[0]!r} is missing or of another shape."
        )
    return backbone


@contextmanager
def _quiet(level: int = logging.WARNING) -> Iterator[None]:
    """No progress bar, and no log below `level`."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(max(level, verbosity))
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
