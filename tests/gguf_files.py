"""Writes small GGUF files by the format's description, not by the reader under test."""

import struct
from typing import Any

import numpy as np

F32, Q4_1, Q8_0 = 0, 3, 8
MERGES = ("l o", "Ġ lo", "Ġlo w")


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(content: Any) -> bytes:
    """A metadata value with its type in front: bool, int (uint32), float (float32), str, or a list of one of these."""
    if isinstance(content, list):
        items = [value(item) for item in content]
        return struct.pack("<I", 9) + items[0][:4] + struct.pack("<Q", len(items)) + b"".join(i[4:] for i in items)
    if isinstance(content, str):
        return struct.pack("<I", 8) + text(content)
    code, kind = {bool: ("?", 7), int: ("I", 4), float: ("f", 6)}[type(content)]
    return struct.pack(f"<I{code}", kind, content)


def file(
    metadata: dict[str, Any], tensors: dict[str, tuple[tuple[int, ...], int, bytes]], alignment: int = 32
) -> bytes:
    """A whole file; a tensor is (shape as numpy has it, type number, its bytes)."""
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    header += b"".join(text(key) + value(content) for key, content in metadata.items())
    body = b""
    for name, (shape, kind, content) in tensors.items():
        header += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(body))
        body += content + bytes(-len(content) % alignment)
    return header + bytes(-len(header) % alignment) + body


def tokenizer_metadata() -> dict[str, Any]:
    """A byte-level BPE of three merges, all printable ASCII bytes and two control tokens."""
    tokens = ["<|end|>", "<|start|>", *(chr(code) for code in range(33, 127)), "Ġ", "lo", "Ġlo", "Ġlow"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 3, *[1] * (len(tokens) - 2)],
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 0,
    }


def llama_metadata(config: Any) -> dict[str, Any]:
    """What llama.cpp notes about a Hugging Face Llama config."""
    return {
        "general.architecture": "llama",
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.dimension_count": config.head_dim,
        "llama.rope.freq_base": config.rope_parameters["rope_theta"],
        "llama.vocab_size": config.vocab_size,
    }


def llama_tensors(model: Any) -> dict[str, tuple[tuple[int, ...], int, bytes]]:
    """The weights of a Hugging Face Llama, in float32 and under llama.cpp's names."""
    config = model.config
    names = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    tensors = {"token_embd": model.model.embed_tokens.weight, "output_norm": model.model.norm.weight}
    if not config.tie_word_embeddings:
        tensors["output"] = model.lm_head.weight
    for i, layer in enumerate(model.model.layers):
        for theirs, name in names.items():
            weight = layer.get_submodule(theirs).weight
            if name in ("attn_q", "attn_k"):
                weight = weight[_interleaved(len(weight), config.head_dim)]
            tensors[f"blk.{i}.{name}"] = weight
    arrays = {f"{name}.weight": weight.detach().numpy() for name, weight in tensors.items()}
    return {name: (a.shape, F32, np.ascontiguousarray(a, "<f4").tobytes()) for name, a in arrays.items()}


def _interleaved(rows: int, head_dim: int) -> list[int]:
    """Which row comes where: Hugging Face rotates (i, i + half a head), llama.cpp (2 i, 2 i + 1)."""
    order = []
    for head in range(0, rows, head_dim):
        for i in range(head_dim // 2):
            order += [head + i, head + i + head_dim // 2]
    return order
