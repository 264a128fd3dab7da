"""Reads GGUF files: metadata and tensors, decoded to float32. Nothing in a file is executed.

The format is version 3 of ggml's specification; of its many tensor types those of the packaged SmolLM2 are read.
"""

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from updater.errors import ConfigError

Float32 = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Value types of metadata with one size, as struct codes."""
TEXT, ARRAY = 8, 9


def _f32(blocks: Bytes) -> Float32:
    return blocks.view("<f4").astype(np.float32)


def _q8_0(blocks: Bytes) -> Float32:
    """A float16 scale, then 32 signed bytes."""
    scale = blocks[:, :2].view("<f2").astype(np.float32)
    return scale * blocks[:, 2:].view(np.int8)


def _q4_1(blocks: Bytes) -> Float32:
    """A float16 scale and a float16 minimum, then 32 numbers of 4 bits: all low halves first, then all high ones."""
    scale, least = (blocks[:, start : start + 2].view("<f2").astype(np.float32) for start in (0, 2))
    numbers = np.concatenate((blocks[:, 4:] & 15, blocks[:, 4:] >> 4), axis=1)
    return scale * numbers + least


class _Encoding(NamedTuple):
    values: int
    """Numbers in a block."""
    size: int
    """Bytes of a block."""
    decode: Callable[[Bytes], Float32]
    """Blocks, shape (number, size), to their values."""


ENCODINGS = {0: _Encoding(1, 4, _f32), 3: _Encoding(32, 20, _q4_1), 8: _Encoding(32, 34, _q8_0)}
"""Tensor types by their number in ggml: F32, Q4_1 and Q8_0."""


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    encoding: _Encoding
    start: int
    """Position of its first byte in the file."""


@dataclass(frozen=True)
class Gguf:
    """An opened file. Tensors are decoded when they are asked for."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, _Tensor]
    data: bytes

    def array(self, name: str) -> Float32:
        """A tensor of the file, decoded."""
        shape, encoding, start = self.tensors[name]
        count = math.prod(shape) // encoding.values
        blocks = np.frombuffer(self.data, np.uint8, count * encoding.size, start).reshape(count, encoding.size)
        return encoding.decode(blocks).reshape(shape)

    def refuse(self, what: str) -> ConfigError:
        """The error to raise if the file is not what it has to be."""
        return _refuse(self.path, what)

    def get(self, key: str, kind: type) -> Any:
        """A metadata value of that type. Raises ConfigError without one."""
        value = self.metadata.get(key)
        if type(value) is not kind:
            raise self.refuse(f"{key} is {'missing' if value is None else 'of an unexpected type'}")
        return value


def read_gguf(path: Path) -> Gguf:
    """Open a GGUF file.

    Raises:
        ConfigError: it is no GGUF file of version 3, is cut off, or has tensors of a type other than ENCODINGS.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _refuse(path, str(error)) from None
    cursor = _Cursor(path, data)
    if cursor.take(4) != MAGIC or cursor.number("I") != VERSION:
        raise _refuse(path, f"it does not begin like one, or its version is not {VERSION}")
    num_tensors, num_values = cursor.number("Q"), cursor.number("Q")
    metadata = {cursor.text(): cursor.value(cursor.number("I")) for _ in range(num_values)}
    tensors = [cursor.tensor() for _ in range(num_tensors)]
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 1:
        raise _refuse(path, f"its alignment is {alignment!r}")
    first = cursor.position + -cursor.position % alignment
    placed = {name: tensor._replace(start=first + tensor.start) for name, tensor in tensors}
    for name, (shape, encoding, start) in placed.items():
        if start + math.prod(shape) // encoding.values * encoding.size > len(data):
            raise _refuse(path, f"it ends within tensor {name!r}")
    return Gguf(path, metadata, placed, data)


class _Cursor:
    """A position in the file's header; never reads past the end."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise _refuse(self.path, "it ends within its header")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        try:
            return self.take(self.number("Q")).decode()
        except UnicodeDecodeError:
            raise _refuse(self.path, "a string in its header is not UTF-8") from None

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind != ARRAY:
            raise _refuse(self.path, f"its metadata has a value of unknown type {kind}")
        if (kind := self.number("I")) == ARRAY:
            raise _refuse(self.path, "its metadata has arrays of arrays")
        return [self.value(kind) for _ in range(self.number("Q"))]

    def tensor(self) -> tuple[str, _Tensor]:
        """Name of a tensor and where it is, counted from the first tensor."""
        name = self.text()
        shape = tuple(self.number("Q") for _ in range(self.number("I")))[::-1]
        kind, start = self.number("I"), self.number("Q")
        if kind not in ENCODINGS:
            raise _refuse(self.path, f"tensor {name!r} is of unknown type {kind}; F32, Q4_1 and Q8_0 are known")
        if not 1 <= len(shape) <= 4 or 0 in shape or shape[-1] % ENCODINGS[kind].values:
            raise _refuse(self.path, f"tensor {name!r} cannot have shape {shape}")
        return name, _Tensor(shape, ENCODINGS[kind], start)


def _refuse(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{path} cannot be read as the GGUF file of a model: {what}; get another copy of it.")
