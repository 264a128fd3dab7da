"""Models with random weights, made-up users with prefixes of a given length, and questions of 16 tokens."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from updater.model.batch import ModalityBatch, UserBatch
from updater.model.checkpoint import create_model
from updater.model.config import INSTRUCTION, TINY_BACKBONE, ModalityConfig, ModelConfig
from updater.model.sources import load_tokenizer, locate, text_encoder_version
from updater.model.user_model import UserModel

SHARES = {"bill": 37, "mini": 22, "spm": 22, "app": 15, "search": 4}
"""Of a user's events."""
QUERY_TOKENS = 16
"""Of each question, with <USER_EMB>."""
GOODS = ("coffee", "bread", "milk", "fruit", "cheese", "fish", "wine", "beer", "tea")
GOODS += ("soap", "meat", "rice", "sugar", "salt", "butter", "flour", "oil", "chicken")
QUERIES = [f"Will this user buy {good} in one of our shops in the next week?" for good in GOODS]

HALF_BILLION: Mapping[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
}
"""Qwen2.5-0.5B but for the words, which nothing here computes: the tokenizer is the text encoder's."""


def tiny_model() -> UserModel:
    """The demo's language model, in the paper's layout."""
    return create_model(_config(TINY_BACKBONE, "tiny"))


def half_billion_model(num_layers: int) -> UserModel:
    """The paper's model, or its first layers."""
    config = _config({**HALF_BILLION, "num_hidden_layers": num_layers}, "Qwen2.5-0.5B shape")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config.backbone_config), dtype=torch.float32)
        return UserModel(config, backbone, load_tokenizer(locate("minilm"))).eval()


def counting_model() -> UserModel:
    """A model of question-anchored counts, without layers."""
    config = _config({**TINY_BACKBONE}, "none")
    return create_model(replace(config, layout="anchored"))


def _config(backbone: Mapping[str, Any], name: str) -> ModelConfig:
    return ModelConfig(
        text_encoder="minilm",
        text_encoder_version=text_encoder_version("minilm"),
        text_dim=384,
        modalities=tuple(ModalityConfig(name=modality, num_numeric=1, max_events=512) for modality in SHARES),
        backbone=name,
        backbone_config={**backbone, "vocab_size": load_tokenizer(locate("minilm")).get_vocab_size()},
        instruction=INSTRUCTION.format(names=", ".join(SHARES)),
        # The layout whose prefixes have as many tokens as are wanted.
        layout="paper",
    )


def users_with_texts(model: UserModel, num_users: int, num_texts: int, vocabulary: int, seed: int = 0) -> UserBatch:
    """Users who have `num_texts` distinct texts each, of as many as the vocabulary has, and two events of each."""
    rng = np.random.default_rng(seed)
    texts_TX = rng.standard_normal((vocabulary, model.config.text_dim)).astype(np.float32)
    texts_TX /= np.linalg.norm(texts_TX, axis=1, keepdims=True)
    first, *others = model.config.modalities
    rows = np.concatenate([np.repeat(rng.permutation(vocabulary)[:num_texts], 2) for _ in range(num_users)])
    times = np.sort(1.7e9 + rng.random((num_users, 2 * num_texts)) * 90 * 86_400, axis=1).ravel()
    numeric = rng.standard_normal((len(rows), first.num_numeric))
    offsets = np.arange(num_users + 1) * 2 * num_texts
    nothing = np.zeros(0)
    none = [
        ModalityBatch(
            np.zeros(num_users + 1, np.int64),
            nothing,
            nothing,
            np.zeros((0, one.num_numeric)),
            np.zeros(0, np.int64),
            np.zeros((0, model.config.text_dim), np.float32),
        )
        for one in others
    ]
    return UserBatch((ModalityBatch(offsets, times, times, numeric, rows, texts_TX), *none))


def make_users(model: UserModel, num_users: int, prefix_tokens: int, seed: int = 0) -> UserBatch:
    """Users whose prefixes have `prefix_tokens` tokens each."""
    config = model.config
    num_modalities = len(config.modalities)
    # Beside events there are the instruction, the user, and per modality a summary and a marker.
    num_events = prefix_tokens - len(model.token_ids(config.instruction)) - 1 - 2 * num_modalities
    counts = [max(1, num_events * share // 100) for share in SHARES.values()]
    counts[0] += num_events - sum(counts)
    rng = np.random.default_rng(seed)
    parts = []
    for modality, count in zip(config.modalities, counts, strict=True):
        total = num_users * count
        times = np.sort(1.7e9 + rng.random(total) * 30 * 86_400)
        parts.append(
            ModalityBatch(
                offsets_B1=np.arange(num_users + 1) * count,
                times_A=times,
                local_A=times,
                numeric_AC=rng.standard_normal((total, modality.num_numeric)),
                text_rows_A=np.arange(total),
                texts_TX=rng.standard_normal((total, config.text_dim)).astype(np.float32) / 20,
            )
        )
    batch = UserBatch(tuple(parts))
    lengths = {*model.prefix_lengths(batch).tolist(), *(len(model.token_ids(query)) + 1 for query in QUERIES)}
    if lengths != {prefix_tokens, QUERY_TOKENS}:
        raise ValueError(f"Users and questions have {sorted(lengths)} tokens, not {prefix_tokens} and {QUERY_TOKENS}.")
    return batch
