"""The paper's backbone, Qwen2.5-0.5B-Instruct: its published shape with random weights, read like the real one."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from tests.conftest import ROOT
from tests.model_factories import QUERIES, make_batch, make_tokenizer
from updater.model.checkpoint import create_model, load_model, model_digest, save_model
from updater.model.config import ModelConfig, create_config
from updater.model.layers.decoder import is_supported
from updater.settings import Settings, load_settings

pytestmark = pytest.mark.campaign

PAPER = load_settings(ROOT / "configs" / "paper.toml", {})
PUBLISHED: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
"""config.json of Qwen/Qwen2.5-0.5B-Instruct."""


def make_directory(directory: Path, **changes: Any) -> str:
    """A directory like the hub's, with bfloat16 and biases of q, k and v; only weights and words are made up."""
    published = {**PUBLISHED, **changes}
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(published, indent=2), encoding="utf-8")
    make_tokenizer().save(str(directory / "tokenizer.json"))
    with torch.device("meta"):
        shapes = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory)).state_dict()
    del shapes["lm_head.weight"]
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: torch.empty(weight.shape, dtype=torch.bfloat16).uniform_(-0.05, 0.05, generator=generator)
        for name, weight in shapes.items()
    }
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return str(directory)


def settings_of(backbone: str) -> Settings:
    return dataclasses.replace(PAPER, model=dataclasses.replace(PAPER.model, backbone=backbone))


def test_the_shipped_config_names_it() -> None:
    local = load_settings(ROOT / "configs" / "local.toml", {})
    assert PAPER.model.backbone == "Qwen/Qwen2.5-0.5B-Instruct"
    assert (PAPER.modalities, PAPER.scenarios, PAPER.buffer) == (local.modalities, local.scenarios, local.buffer)
    assert PAPER.model == dataclasses.replace(local.model, backbone=PAPER.model.backbone)
    assert PAPER.paths.state != local.paths.state


@pytest.fixture
def config(tmp_path: Path) -> ModelConfig:
    """The paper's widths with two layers and a small vocabulary."""
    return create_config(settings_of(make_directory(tmp_path / "qwen", num_hidden_layers=2, vocab_size=64)))


def test_it_is_read_embedded_and_saved(config: ModelConfig, tmp_path: Path) -> None:
    model = create_model(config)
    backbone = model.backbone.config
    assert is_supported(backbone)
    assert backbone.rope_parameters["rope_theta"] == 1_000_000
    assert (backbone.hidden_size, backbone.num_attention_heads, backbone.num_key_value_heads) == (896, 14, 2)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.backbone.lm_head.weight.data_ptr() == model.backbone.model.embed_tokens.weight.data_ptr()
    assert model.backbone.model.layers[1].self_attn.k_proj.bias.std() > 0.02
    batch = make_batch(config)
    embedded = model.embed(batch, QUERIES)
    with torch.no_grad():
        np.testing.assert_allclose(embedded, model(batch, QUERIES).numpy(), rtol=0, atol=1e-4)
    save_model(model, tmp_path / "v1")
    loaded = load_model(tmp_path / "v1")
    np.testing.assert_array_equal(loaded.embed(batch, QUERIES), embedded)
    save_model(loaded, tmp_path / "v2")
    assert model_digest(tmp_path / "v1") == model_digest(tmp_path / "v2")


def test_prefixes_of_the_shipped_config_fit(config: ModelConfig) -> None:
    assert sum(modality.max_events for modality in config.modalities) < PUBLISHED["max_position_embeddings"]
    assert [modality.name for modality in config.modalities] == ["bill", "mini", "spm", "app", "search", "tabular"]


@pytest.mark.slow
def test_the_whole_of_it(tmp_path: Path) -> None:
    model = create_model(create_config(settings_of(make_directory(tmp_path / "qwen"))))
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == 494_032_768
    # The packed pass would hold the layers' weights twice.
    with torch.no_grad():
        embedded = model(make_batch(model.config, num_users=2), QUERIES[:1])
    assert embedded.shape == (2, 1, 128)
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(2, 1))
