"""Backbones out of GGUF files, such as the packaged SmolLM2. `read_llama` is the way in."""

from pathlib import Path

from updater.contrib.gguf.llama import Llama
from updater.contrib.gguf.reader import read_gguf


def read_llama(path: Path) -> Llama:
    """The model in a file. Raises ConfigError if it is no GGUF file or has what this reader does not know."""
    return Llama(read_gguf(path))
