"""User models on a local disk: config.json, model.safetensors, tokenizer.json, and a model card for people.

Pickles are neither written nor read.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from updater.domain.fingerprint import fingerprint
from updater.domain.temporary_files import temporary_name
from updater.errors import ConfigError
from updater.model.card import CARD, model_card
from updater.model.config import ModelConfig, create_config
from updater.model.layers.own_answers import OwnAnswers
from updater.model.loading import empty_backbone, new_backbone
from updater.model.sources import file_digest, load_tokenizer, locate
from updater.model.user_model import UserModel

__all__ = ["create_config", "create_model", "load_model", "model_digest", "save_model"]

CONFIG, WEIGHTS, TOKENIZER = FILES = ("config.json", "model.safetensors", "tokenizer.json")
LEARNED = ("soft_prompts", "prototypes", "question_shifts")
"""Dictionaries of a model that have a key for each tuned scenario."""
FORMERLY_LEARNED = "count_gates"


def create_model(config: ModelConfig, seed: int | None = None) -> UserModel:
    """A model with initial weights: equal arguments give equal bytes. The backbone's come from its source, unless tiny.

    Args:
        config: what to build.
        seed: of the random weights; the config's if left out.

    Raises:
        ConfigError: the text encoder's or the backbone's files are not there.
    """
    tokenizer = load_tokenizer(locate(config.text_encoder if config.backbone in ("none", "tiny") else config.backbone))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed if seed is None else seed)
        return UserModel(config, new_backbone(config), tokenizer).eval()


def without_layers(model: UserModel) -> UserModel:
    """The same model with backbone `none`: what its layers add to the states that they are given is left out.

    Args:
        model: of the anchored layout, with a backbone.
    """
    config = replace(
        model.config, backbone="none", backbone_config={"hidden_size": model.config.backbone_config["hidden_size"]}
    )
    made = create_model(config)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("backbone.")}
    for name in (*LEARNED, "answers", "own_answers"):
        setattr(made, name, getattr(model, name))
    weights["norm.weight"] = model.backbone.base_model.norm.weight
    made.load_state_dict(weights)
    return made.eval()


def save_model(model: UserModel, directory: str | Path) -> None:
    """Write a model; each file appears whole. Equal models give equal bytes."""
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    weights = _distinct(model.state_dict())
    _write(target / TOKENIZER, lambda path: path.write_text(model.tokenizer.to_str(pretty=False), encoding="utf-8"))
    # Not as bytes: the weights of a large backbone would be in memory three times.
    _write(target / WEIGHTS, lambda path: save_file(weights, path))
    card = model_card(model.config, sum(value.numel() for value in weights.values()), model.tuned_scenarios)
    _write(target / CARD, lambda path: path.write_text(card, encoding="utf-8"))
    _write(target / CONFIG, lambda path: path.write_text(model.config.to_json(), encoding="utf-8"))


def load_model(directory: str | Path) -> UserModel:
    """Read a model for inference in float32.

    Raises:
        ConfigError: a file is missing, or the weights do not fit the config.
    """
    source = Path(directory)
    _check(source)
    config = ModelConfig.from_json((source / CONFIG).read_text(encoding="utf-8"))
    state = load_file(source / WEIGHTS)
    model = UserModel(config, empty_backbone(config), Tokenizer.from_file(str(source / TOKENIZER)))
    for name in state:
        kind, _, scenario = name.partition(".")
        if kind == FORMERLY_LEARNED:
            raise ConfigError(
                f"{source} was tuned by an earlier version: scenario {scenario!r} has {FORMERLY_LEARNED}, which are "
                "not computed any more. Tune its base again with `updater model tune`, and promote what that writes."
            )
        if kind in LEARNED:
            getattr(model, kind)[scenario] = nn.Parameter(state[name])
    if "answers.weight" in state:
        width, text_dim = state["answers.weight"].shape
        model.answers = nn.Linear(text_dim, width)
    if "own_answers.question.weight" in state:
        num_answers, text_dim = state["own_answers.question.weight"].shape
        model.own_answers = OwnAnswers(text_dim, config.embedding_dim, num_answers)
    # Copying keeps tied weights tied, and does not leave the model backed by a file that may be replaced.
    wanted = _distinct(model.state_dict())
    if wrong := sorted(set(wanted) ^ set(state)):
        raise ConfigError(f"{source / WEIGHTS} does not fit {CONFIG}: {wrong[0]!r} is in one of them only.")
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ConfigError(f"{source / WEIGHTS} does not fit {CONFIG}: {error}.") from None
    return model.eval()


def model_digest(directory: str | Path) -> str:
    """SHA-256 (hex) over the model's files. Raises ConfigError if one is missing."""
    source = Path(directory)
    _check(source)
    return fingerprint([file_digest(source / name) for name in FILES])


def _check(directory: Path) -> None:
    if missing := [name for name in FILES if not (directory / name).is_file()]:
        raise ConfigError(f"{directory} is no complete model: {missing[0]} is missing; restore it.")


def _distinct(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with tied weights under their first name only, sorted by name."""
    first: dict[int, str] = {}
    for name, value in state.items():
        first.setdefault(value.data_ptr(), name)
    return {name: state[name].contiguous() for name in sorted(first.values())}


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    temporary = path.with_name(temporary_name(path.name))
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        fill(temporary)
        # safetensors makes files that only their owner may read, whatever the umask.
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
