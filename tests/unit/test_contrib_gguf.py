"""Models in GGUF files: decoding against formulas written out, and what is refused."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from tests import gguf_files
from updater.contrib.gguf.llama import byte_level_tokenizer, llama_config, llama_weights
from updater.contrib.gguf.reader import read_gguf
from updater.errors import ConfigError

TOKENIZER = gguf_files.tokenizer_metadata()


def random_llama(tied: bool = True) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(TOKENIZER["tokenizer.ggml.tokens"]),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        rms_norm_eps=2**-17,
        tie_word_embeddings=tied,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return LlamaForCausalLM(config).eval()


LLAMA = random_llama()
METADATA = {**gguf_files.llama_metadata(LLAMA.config), **TOKENIZER}
TENSORS = gguf_files.llama_tensors(LLAMA)
LLAMA_FILE = gguf_files.file(METADATA, TENSORS)


def write(directory: Path, content: bytes) -> Path:
    path = directory / "model.gguf"
    path.write_bytes(content)
    return path


def read_everything(path: Path) -> None:
    gguf = read_gguf(path)
    llama_config(gguf)
    llama_weights(gguf, 3)
    byte_level_tokenizer(gguf)


def q4_1(block: bytes) -> list[float]:
    scale, least = struct.unpack("<ee", block[:4])
    return [scale * (block[4 + i % 16] >> (0 if i < 16 else 4) & 0b1111) + least for i in range(32)]


def q8_0(block: bytes) -> list[float]:
    scale, *numbers = struct.unpack("<e32b", block)
    return [scale * number for number in numbers]


def f32(block: bytes) -> list[float]:
    return list(struct.unpack("<f", block))


FORMULAS = {
    gguf_files.F32: (4, f32, b""),
    gguf_files.Q4_1: (20, q4_1, struct.pack("<ee", -0.75, 3.5)),
    gguf_files.Q8_0: (34, q8_0, struct.pack("<e", 0.0625)),
}


@pytest.mark.parametrize("shape", [(64,), (3, 32), (2, 3, 64)])
@pytest.mark.parametrize("kind", FORMULAS)
def test_each_type_is_decoded_by_its_formula(tmp_path: Path, kind: int, shape: tuple[int, ...]) -> None:
    size, formula, scales = FORMULAS[kind]
    rng = np.random.default_rng(kind)
    count = int(np.prod(shape)) // (1 if kind == gguf_files.F32 else 32)
    if kind == gguf_files.F32:
        blocks = [struct.pack("<f", number) for number in rng.standard_normal(count)]
    else:
        blocks = [scales + rng.bytes(size - len(scales)) for _ in range(count)]
    other = ((5,), gguf_files.F32, np.arange(5, dtype="<f4").tobytes())
    content = gguf_files.file({}, {"first": other, "it": (shape, kind, b"".join(blocks)), "last": other})
    gguf = read_gguf(write(tmp_path, content))
    expected = np.array([formula(block) for block in blocks]).reshape(shape)
    array = gguf.array("it")
    assert array.dtype == np.float32
    assert array.flags.writeable
    np.testing.assert_allclose(array, expected, rtol=1e-6)
    for name in ("first", "last"):
        np.testing.assert_array_equal(gguf.array(name), np.arange(5))


def test_metadata_of_every_type(tmp_path: Path) -> None:
    numbers = {0: ("B", 200), 1: ("b", -7), 2: ("H", 60_000), 3: ("h", -300), 4: ("I", 2**31), 5: ("i", -(2**31))}
    numbers |= {6: ("f", 0.25), 7: ("?", True), 10: ("Q", 2**63), 11: ("q", -(2**62)), 12: ("d", 0.1)}
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 2 * len(numbers) + 2)
    for kind, (code, number) in numbers.items():
        header += gguf_files.text(f"one.{kind}") + struct.pack(f"<I{code}", kind, number)
        header += gguf_files.text(f"two.{kind}") + struct.pack(f"<IIQ{code}{code}", 9, kind, 2, number, number)
    header += (
        gguf_files.text("text") + gguf_files.value("zwölf") + gguf_files.text("texts") + gguf_files.value(["a", ""])
    )
    metadata = read_gguf(write(tmp_path, header)).metadata
    for kind, (_, number) in numbers.items():
        assert metadata[f"one.{kind}"] == number
        assert metadata[f"two.{kind}"] == [number, number]
    assert (metadata["text"], metadata["texts"]) == ("zwölf", ["a", ""])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("alignment", [32, 128])
def test_llama_computes_what_the_original_does(tmp_path: Path, tied: bool, alignment: int) -> None:
    original = random_llama(tied)
    metadata = {**gguf_files.llama_metadata(original.config), **TOKENIZER, "general.alignment": alignment}
    content = gguf_files.file(metadata, gguf_files.llama_tensors(original), alignment)
    gguf = read_gguf(write(tmp_path, content))
    config = llama_config(gguf)
    assert config["model_type"] == "llama"
    assert config["tie_word_embeddings"] == tied
    copy = LlamaForCausalLM(LlamaConfig(**config)).eval()
    copy.load_state_dict({name: torch.from_numpy(array) for name, array in llama_weights(gguf, 3).items()})
    for name, weight in original.state_dict().items():
        assert torch.equal(copy.state_dict()[name], weight), name
    ids = torch.arange(40)[None] % config["vocab_size"]
    with torch.inference_mode():
        assert torch.equal(copy(ids).logits, original(ids).logits)
    assert (copy.config.bos_token_id, copy.config.eos_token_id) == (1, 0)


def test_only_the_first_layers_are_decoded(tmp_path: Path) -> None:
    gguf = read_gguf(write(tmp_path, LLAMA_FILE))
    all_of_them, two = llama_weights(gguf, 3), llama_weights(gguf, 2)
    assert {name for name in all_of_them if ".layers.2." not in name} == set(two)
    assert len(two) == len(all_of_them) - 9


def test_tokenizer_splits_digits_and_gives_texts_back(tmp_path: Path) -> None:
    tokenizer = byte_level_tokenizer(read_gguf(write(tmp_path, LLAMA_FILE)))
    encoded = tokenizer.encode("so low 2024's lo<|end|>")
    assert encoded.tokens == [*"so", "Ġlow", "Ġ", *"2024", "'", "s", "Ġlo", "<|end|>"]
    assert encoded.ids == [TOKENIZER["tokenizer.ggml.tokens"].index(token) for token in encoded.tokens]
    assert tokenizer.decode(encoded.ids) == "so low 2024's lo"
    assert tokenizer.encode("low").tokens == ["lo", "w"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    metadata = {"a": [1, 2], "b": "text", "general.alignment": 1}
    content = gguf_files.file(metadata, {"t": ((2, 32), gguf_files.Q4_1, bytes(40))}, alignment=1)
    read_gguf(write(tmp_path, content))
    for length in range(len(content)):
        with pytest.raises(ConfigError, match=r"model\.gguf cannot be read"):
            read_gguf(write(tmp_path, content[:length]))


def tensor(name: str, **changes: Any) -> dict[str, Any]:
    shape, kind, content = TENSORS[name]
    return {**TENSORS, name: (changes.get("shape", shape), changes.get("kind", kind), content)}


def without(items: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: item for name, item in items.items() if name != key}


TOKENS, NORM, Q = TOKENIZER["tokenizer.ggml.tokens"], "output_norm.weight", "blk.0.attn_q.weight"
WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "magic": (lambda: b"GGML" + LLAMA_FILE[4:], "does not begin like one"),
    "version": (lambda: LLAMA_FILE[:4] + struct.pack("<I", 2) + LLAMA_FILE[8:], "version is not 3"),
    "big endian": (lambda: LLAMA_FILE[:4] + struct.pack(">I", 3) + LLAMA_FILE[8:], "version is not 3"),
    "tensor type": (lambda: gguf_files.file(METADATA, tensor(NORM, kind=14)), "unknown type 14"),
    "no shape": (lambda: gguf_files.file(METADATA, tensor(NORM, shape=())), "cannot have shape"),
    "zero": (lambda: gguf_files.file(METADATA, tensor(NORM, shape=(0,))), "cannot have shape"),
    "half a block": (lambda: gguf_files.file(METADATA, tensor(NORM, kind=8)), r"cannot have shape \(16,\)"),
    "too large": (lambda: gguf_files.file(METADATA, tensor(NORM, shape=(2**40,))), "ends within tensor"),
    "value type": (lambda: LLAMA_FILE.replace(gguf_files.value("smollm"), b"\x63" + bytes(13)), "unknown type 99"),
    "nested": (lambda: gguf_files.file({"a": [[1]]}, {}), "arrays of arrays"),
    "no UTF-8": (lambda: LLAMA_FILE.replace(b"smollm", b"smoll\xff"), "not UTF-8"),
    "alignment": (lambda: gguf_files.file({**METADATA, "general.alignment": 0}, TENSORS), "alignment is 0"),
    "another model": (lambda: gguf_files.file({**METADATA, "general.architecture": "mamba"}, TENSORS), "'mamba'"),
    "new feature": (lambda: gguf_files.file({**METADATA, "llama.expert_count": 8}, TENSORS), "expert_count is unknown"),
    "no key": (lambda: gguf_files.file(without(METADATA, "llama.vocab_size"), TENSORS), "vocab_size is missing"),
    "key's type": (lambda: gguf_files.file({**METADATA, "llama.block_count": "3"}, TENSORS), "unexpected type"),
    "no layers": (lambda: gguf_files.file({**METADATA, "llama.block_count": 0}, TENSORS), "block_count is 0"),
    "many layers": (lambda: gguf_files.file({**METADATA, "llama.block_count": 2**31}, TENSORS), "2147483648 layers"),
    "odd heads": (lambda: gguf_files.file({**METADATA, "llama.rope.dimension_count": 7}, TENSORS), "rotary pairs"),
    "shared keys": (lambda: gguf_files.file({**METADATA, "llama.attention.head_count_kv": 3}, TENSORS), "evenly"),
    "no tensor": (lambda: gguf_files.file(METADATA, without(TENSORS, Q)), f"'{Q}' is missing"),
    "a tensor more": (lambda: gguf_files.file(METADATA, {**TENSORS, "rope_freqs": TENSORS[NORM]}), "is unknown"),
    "tensor's shape": (lambda: gguf_files.file(METADATA, tensor(Q, shape=(16, 32))), r"\(16, 32\), not \(32, 16\)"),
    "tokenizer": (lambda: gguf_files.file({**METADATA, "tokenizer.ggml.pre": "qwen2"}, TENSORS), "gpt2/qwen2"),
    "same token": (
        lambda: gguf_files.file({**METADATA, "tokenizer.ggml.tokens": [*TOKENS[:-1], "!"]}, TENSORS),
        "dupl",
    ),
    "token more": (lambda: gguf_files.file({**METADATA, "tokenizer.ggml.tokens": [*TOKENS, "xy"]}, TENSORS), "dupl"),
    "token's type": (
        lambda: gguf_files.file({**METADATA, "tokenizer.ggml.token_type": [6] * len(TOKENS)}, TENSORS),
        "neither normal nor control",
    ),
    "merge": (lambda: gguf_files.file({**METADATA, "tokenizer.ggml.merges": ["l ow"]}, TENSORS), "merge"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_is_refused(tmp_path: Path, case: str) -> None:
    content, message = WRONG[case]
    with pytest.raises(ConfigError, match=message) as refused:
        read_everything(write(tmp_path, content()))
    assert str(tmp_path / "model.gguf") in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.gguf", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_gguf(path)


HEADER_BYTES = LLAMA_FILE.index(b"output_norm") + 200


@given(st.dictionaries(st.integers(0, HEADER_BYTES), st.integers(0, 255), min_size=1, max_size=4))
def test_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, damage: dict[int, int]) -> None:
    content = bytearray(LLAMA_FILE)
    for position, byte in damage.items():
        content[position] = byte
    path = write(tmp_path_factory.getbasetemp(), bytes(content))
    try:
        read_everything(path)
    except ConfigError as error:
        assert "cannot be read" in str(error)
