"""A Llama out of a GGUF file: Hugging Face config, weights and tokenizer.

Strict: what this reader does not know it refuses, because a model that is understood by half is a wrong model.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from updater.contrib.gguf.reader import Float32, Gguf

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NORMAL_TOKEN, CONTROL_TOKEN = 1, 3
"""Token types of a vocabulary, by their number in llama.cpp."""

CONFIG = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.dimension_count": "head_dim",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
"""Metadata `llama.<key>` to the key of a Hugging Face Llama config. All are needed, and any other is refused."""

LAYER = {
    "attn_norm": ("input_layernorm", "D"),
    "attn_q": ("self_attn.q_proj", "QD"),
    "attn_k": ("self_attn.k_proj", "KD"),
    "attn_v": ("self_attn.v_proj", "KD"),
    "attn_output": ("self_attn.o_proj", "DQ"),
    "ffn_norm": ("post_attention_layernorm", "D"),
    "ffn_gate": ("mlp.gate_proj", "FD"),
    "ffn_up": ("mlp.up_proj", "FD"),
    "ffn_down": ("mlp.down_proj", "DF"),
}
"""Tensor of a layer to its Hugging Face name and shape: D model, F feed-forward, Q query and K key width."""


@dataclass(frozen=True)
class Llama:
    """The model in a file."""

    file: Gguf

    def config(self) -> dict[str, Any]:
        """As `llama_config`."""
        return llama_config(self.file)

    def weights(self, num_layers: int) -> dict[str, Float32]:
        """As `llama_weights`."""
        return llama_weights(self.file, num_layers)

    def tokenizer(self) -> "Tokenizer":
        """As `byte_level_tokenizer`."""
        return byte_level_tokenizer(self.file)


def llama_config(gguf: Gguf) -> dict[str, Any]:
    """The Hugging Face config of the model. Raises ConfigError if it is no Llama, or one with unknown features."""
    if (architecture := gguf.get("general.architecture", str)) != "llama":
        raise gguf.refuse(f"its architecture is {architecture!r}, not 'llama'")
    given = {key.removeprefix("llama.") for key in gguf.metadata if key.startswith("llama.")}
    if unknown := sorted(given - set(CONFIG)):
        raise gguf.refuse(f"llama.{unknown[0]} is unknown")
    config: dict[str, Any] = {"model_type": "llama", "hidden_act": "silu"}
    for key, name in CONFIG.items():
        config[name] = gguf.get(f"llama.{key}", float if name in ("rms_norm_eps", "rope_theta") else int)
        if not 0 < config[name] < math.inf:
            raise gguf.refuse(f"llama.{key} is {config[name]}")
    if config["head_dim"] % 2 or config["num_attention_heads"] % config["num_key_value_heads"]:
        raise gguf.refuse("its attention heads have no rotary pairs, or cannot share their keys evenly")
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": config.pop("rope_theta")}
    config["tie_word_embeddings"] = "output.weight" not in gguf.tensors
    for name in ("bos", "eos"):
        config[f"{name}_token_id"] = gguf.metadata.get(f"tokenizer.ggml.{name}_token_id")
    return config


def llama_weights(gguf: Gguf, num_layers: int) -> dict[str, Float32]:
    """Weights of the first layers under their Hugging Face names, in float32.

    Args:
        gguf: the file.
        num_layers: how many layers; at most those of `llama_config`.

    Raises:
        ConfigError: a tensor is missing, unknown or of another shape than the config says.
    """
    config = llama_config(gguf)
    if config["num_hidden_layers"] > len(gguf.tensors):
        raise gguf.refuse(f"it has {config['num_hidden_layers']} layers in {len(gguf.tensors)} tensors")
    vocabulary = (config["vocab_size"], config["hidden_size"])
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    width = {
        "D": config["hidden_size"],
        "F": config["intermediate_size"],
        "Q": config["num_attention_heads"] * config["head_dim"],
        "K": config["num_key_value_heads"] * config["head_dim"],
    }
    wanted = {
        "token_embd.weight": ("model.embed_tokens.weight", vocabulary),
        "output_norm.weight": ("model.norm.weight", (width["D"],)),
    }
    if not config["tie_word_embeddings"]:
        wanted["output.weight"] = ("lm_head.weight", vocabulary)
    for i in range(config["num_hidden_layers"]):
        for tensor, (name, letters) in LAYER.items():
            shape = tuple(width[letter] for letter in letters)
            wanted[f"blk.{i}.{tensor}.weight"] = (f"model.layers.{i}.{name}.weight", shape)
    if wrong := sorted(set(wanted) ^ set(gguf.tensors)):
        raise gguf.refuse(f"tensor {wrong[0]!r} is {'missing' if wrong[0] in wanted else 'unknown'}")
    weights = {}
    for tensor, (name, shape) in wanted.items():
        if gguf.tensors[tensor].shape != shape:
            raise gguf.refuse(f"tensor {tensor!r} has shape {gguf.tensors[tensor].shape}, not {shape}")
        layer, kind = int(tensor.split(".")[1]) if tensor.startswith("blk.") else 0, tensor.split(".")[-2]
        if layer < num_layers:
            array = gguf.array(tensor)
            weights[name] = _unpermute(array, heads[kind]) if kind in heads else array
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    return weights


def _unpermute(array: Float32, num_heads: int) -> Float32:
    """Rows of q or k in Hugging Face's order: a rotary pair is half a head apart, in llama.cpp side by side."""
    rows, columns = array.shape
    pairs = array.reshape(num_heads, rows // num_heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def byte_level_tokenizer(gguf: Gguf) -> "Tokenizer":
    """The tokenizer of a SmolLM: byte-level BPE, each digit by itself, nothing added to a text.

    Raises:
        ConfigError: the file has another kind of tokenizer, or a malformed one.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    kinds = (gguf.get("tokenizer.ggml.model", str), gguf.get("tokenizer.ggml.pre", str))
    if kinds != ("gpt2", "smollm"):
        raise gguf.refuse(f"its tokenizer is {'/'.join(kinds)}, not gpt2/smollm")
    tokens, types, lines = (gguf.get(f"tokenizer.ggml.{name}", list) for name in ("tokens", "token_type", "merges"))
    ids = {str(token): i for i, token in enumerate(tokens)}
    if not len(ids) == len(tokens) == len(types) == gguf.get("llama.vocab_size", int):
        raise gguf.refuse("its vocabulary has duplicates or not llama.vocab_size tokens")
    if not set(types) <= {NORMAL_TOKEN, CONTROL_TOKEN}:
        raise gguf.refuse("its vocabulary has tokens that are neither normal nor control tokens")
    merges = [str(line).split(" ") for line in lines]
    if not all(len(merge) == 2 and {*merge, "".join(merge)} <= ids.keys() for merge in merges):
        raise gguf.refuse("a merge of its tokenizer does not fit the vocabulary")
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[(left, right) for left, right in merges]))
    tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(ids, types, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer
