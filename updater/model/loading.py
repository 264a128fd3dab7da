"""Backbones and encoders from Hugging Face: float32, safetensors only, nothing on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.initialization import no_init_weights
from transformers.utils import logging

from updater.model.config import ModelConfig
from updater.model.sources import locate, weight_files


def new_backbone(config: ModelConfig) -> Any:
    """The causal language model with first weights: random for `tiny`, else those of its source."""
    if config.backbone == "tiny":
        return AutoModelForCausalLM.from_config(_hugging_face(config), dtype=torch.float32)
    return _from_pretrained(AutoModelForCausalLM, locate(config.backbone))


def empty_backbone(config: ModelConfig) -> Any:
    """The causal language model with weights that are still to be filled in."""
    with no_init_weights():
        backbone = AutoModelForCausalLM.from_config(_hugging_face(config), dtype=torch.float32)
    backbone.tie_weights()
    return backbone


def load_encoder(directory: Path) -> Any:
    """A pretrained encoder in evaluation mode."""
    return _from_pretrained(AutoModel, directory).eval()


def _hugging_face(config: ModelConfig) -> Any:
    return AutoConfig.for_model(**config.backbone_config)


def _from_pretrained(auto: Any, directory: Path) -> Any:
    weight_files(directory)
    with _no_progress_bar():
        return auto.from_pretrained(directory, use_safetensors=True, dtype=torch.float32, local_files_only=True)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
