"""Small random user models and batches for tests."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM

from tests.small_models import make_text_encoder
from updater.model.batch import ModalityBatch, UserBatch
from updater.model.config import ModalityConfig, ModelConfig
from updater.model.layers.own_answers import OwnAnswers
from updater.model.sources import text_encoder_version
from updater.model.user_model import UserModel

DAY = 86_400.0
QUERIES = ["will this user stop coming", "value", "will this user be active in the next week"]

BACKBONES: dict[str, dict[str, Any]] = {
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True},
    "llama": {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "head_dim": 8},
    "llama3-rope": {
        "model_type": "llama",
        "max_position_embeddings": 512,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "qwen2.5-0.5b": {
        "model_type": "qwen2",
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 2,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    },
    "qwen3": {"model_type": "qwen3", "head_dim": 8},
    "gpt_neox": {"model_type": "gpt_neox"},
}
SUPPORTED = ("qwen2", "llama", "llama3-rope", "qwen2.5-0.5b")
OTHERS = ("qwen3", "gpt_neox")

MODALITIES = (
    ModalityConfig(name="bill", num_numeric=2, max_events=6, numeric_mean=(1.0, 0.5), numeric_std=(2.0, 0.5)),
    ModalityConfig(name="search", max_events=3),
    ModalityConfig(name="tabular", num_numeric=1, max_events=0, snapshot=True),
)
TEXT_DIM = 12
WORDS = 8
"""Distinct texts of a modality in `make_batch`."""


@cache
def _encoder() -> "TemporaryDirectory[str]":
    made = TemporaryDirectory(prefix="updater-encoder-")
    make_text_encoder(Path(made.name, "encoder"), TEXT_DIM)
    return made


def encoder_directory() -> str:
    """A small text encoder, made once per test session."""
    return f"{_encoder().name}/encoder"


def make_tokenizer() -> Tokenizer:
    """A tokenizer of whole words; an unknown one is [UNK]."""
    words = dict.fromkeys(word for text in (*QUERIES, "data of bill search tabular") for word in text.split())
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, **{w: i + 1 for i, w in enumerate(words)}}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def make_config(name: str = "qwen2", **changes: Any) -> ModelConfig:
    """A model config over one of BACKBONES."""
    backbone = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": None,
        "eos_token_id": None,
        **BACKBONES[name],
    }
    values: dict[str, Any] = {
        "text_encoder": encoder_directory(),
        "text_encoder_version": text_encoder_version(encoder_directory()),
        "text_dim": TEXT_DIM,
        "modalities": MODALITIES,
        "backbone": "tiny",
        "backbone_config": backbone,
        "instruction": "data of bill search tabular",
        "embedding_dim": 16,
        "head_dim": 24,
        "adapter_dim": 20,
        "max_texts": 10,
    }
    return ModelConfig(**{**values, **changes})


def encode(texts: Sequence[str], text_dim: int = TEXT_DIM) -> np.ndarray:
    """Random directions, the same for equal texts."""
    seeds = [int.from_bytes(sha256(text.encode()).digest()[:4]) for text in texts]
    vectors = np.stack([np.random.default_rng(seed).standard_normal(text_dim) for seed in seeds])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_model(name: str = "qwen2", seed: int = 0, **changes: Any) -> UserModel:
    """A random model over one of BACKBONES, with weights large enough for differences to show."""
    config = make_config(name, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hugging_face = AutoConfig.for_model(**config.backbone_config)
        backbone = None
        if config.backbone != "none":
            backbone = AutoModelForCausalLM.from_config(hugging_face, dtype=torch.float32)
        model = UserModel(config, backbone, make_tokenizer()).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.5 / parameter.shape[-1] ** 0.5)
    return model


def with_answers(model: UserModel) -> UserModel:
    """The model with a random map from its embeddings to five answers, as training on answers leaves one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model.own_answers = OwnAnswers(model.config.text_dim, model.config.embedding_dim, num_answers=5)
    return model


def make_batch(config: ModelConfig, seed: int = 0, num_users: int = 5, empty: float = 0.3) -> UserBatch:
    """Random users; each has no event of a modality with probability `empty`."""
    rng = np.random.default_rng(seed)
    modalities = []
    for modality in config.modalities:
        counts = rng.integers(1, 12, num_users) * (rng.random(num_users) >= empty)
        total = int(counts.sum())
        offsets = np.concatenate(([0], np.cumsum(counts)))
        times = 1.7e9 + rng.random(total) * 90 * DAY
        for first, last in pairwise(offsets):
            times[first:last].sort()
        modalities.append(
            ModalityBatch(
                offsets_B1=offsets,
                times_A=times,
                local_A=np.zeros(total) if modality.snapshot else times,
                numeric_AC=rng.standard_normal((total, modality.num_numeric)),
                text_rows_A=rng.integers(0, WORDS, total),
                texts_TX=encode([f"{modality.name} {word}" for word in range(WORDS)], config.text_dim),
            )
        )
    return UserBatch(tuple(modalities))


def no_events(config: ModelConfig) -> UserBatch:
    """One user without any event."""
    return make_batch(config, num_users=1, empty=1.1)
