"""Arrow columns as the bytes of Feast's `Value` messages.

An embedding is copied as one block. Feast's own conversion makes a Python object of each of its floats, which is most
of the time of a materialization. A rounded embedding (`updater.store.online.rounding`) is a `Value` of bytes in the
store, and of floats again for whoever reads it.
"""

import mmap
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.protos.feast.types.Value_pb2 import FloatList, Value, ValueType
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Float32

from updater.domain import columns
from updater.domain.values import EmbeddingFormat
from updater.store.online.rounding import MARK, decode, encode

_LENGTH_DELIMITED = 2
NULL = b""
"""A `Value` without a value."""


def entity_keys(join_key: str, values: Sequence[str]) -> list[bytes]:
    """Feast's serialization (version 3) of entities with one string join key."""
    prefix = serialize_entity_key_prefix([join_key]) + struct.pack("<I", ValueType.STRING)
    encoded = [value.encode() for value in values]
    return [prefix + struct.pack("<I", len(value)) + value for value in encoded]


def without_join_keys(entity_key: bytes) -> bytes:
    """The part of an entity key with one join key that is the entity's own: type, length and value."""
    return entity_key.partition(columns.JOIN_KEY.encode())[2]


def file_holds(path: Path, patterns: Sequence[bytes]) -> bool:
    """True if the bytes of a file hold any of `patterns`."""
    if not patterns or not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(pattern) >= 0 for pattern in patterns)


def feature_values(column: pa.Array, dtype: Any, embeddings: EmbeddingFormat = "float32") -> list[bytes]:
    """Serialized values of one feature of Feast type `dtype`; empty bytes where the column is null.

    Lists of floats that are all of one length are embeddings, and are rounded to the format of `embeddings`.
    """
    if dtype == Array(Float32) and (dim := _common_length(column)) is not None:
        return _float_lists(column, dim, embeddings)
    if pa.types.is_nested(column.type):
        return _converted(column, dtype)
    # Scalars of a batch repeat (a version, an instant), so each distinct one is converted once.
    encoded = column.dictionary_encode()
    distinct = _converted(encoded.dictionary, dtype)
    return [NULL if index is None else distinct[index] for index in encoded.indices.to_pylist()]


def _converted(column: pa.Array, dtype: Any) -> list[bytes]:
    values = python_values_to_proto_values(column.to_pylist(), dtype.to_value_type())
    return [value.SerializeToString() for value in values]


def _common_length(column: pa.Array) -> int | None:
    """The length that all lists of the column share; None if they differ, hold nulls or are empty."""
    lengths = pc.unique(pc.list_value_length(column).drop_null())
    if len(lengths) != 1 or lengths[0].as_py() == 0 or column.flatten().null_count:
        return None
    return int(lengths[0].as_py())


def _float_lists(column: pa.Array, dim: int, embeddings: EmbeddingFormat) -> list[bytes]:
    flat = np.ascontiguousarray(column.flatten().to_numpy(zero_copy_only=False), "<f4")
    present = _embeddings(flat.reshape(-1, dim), embeddings)
    if not column.null_count:
        return present
    values = iter(present)
    return [next(values) if valid else NULL for valid in column.is_valid().to_pylist()]


def _embeddings(vectors: npt.NDArray[np.float32], form: EmbeddingFormat) -> list[bytes]:
    width, block = 4 * vectors.shape[1], vectors.tobytes()
    head = _float_list_head(width)
    return [
        head + block[row * width : (row + 1) * width] if content is None else _BYTES + varint(len(content)) + content
        for row, content in enumerate(encode(vectors, form))
    ]


def float_lists(values: Sequence[bytes | None]) -> Sequence[bytes | None]:
    """Serialized values of one feature as they lie in a store, with rounded embeddings as lists of floats.

    Raises:
        ConfigError: an embedding is in a format that is not known here.
    """
    encoded = {}
    for row, value in enumerate(values):
        if value and value.startswith(_BYTES) and (content := Value.FromString(value).bytes_val).startswith(MARK):
            encoded[row] = content
    if not encoded:
        return values
    read = list(values)
    for row, content in zip(encoded, decode([*encoded.values()]), strict=True):
        read[row] = _float_list_head(len(content)) + content
    return read


def to_floats(values: Iterable[Any]) -> None:
    """Turn rounded embeddings among `Value` messages into lists of floats.

    Raises:
        ConfigError: an embedding is in a format that is not known here.
    """
    for value in values:
        if (content := value.bytes_val).startswith(MARK):
            [floats] = decode([content])
            value.ParseFromString(_float_list_head(len(floats)) + floats)


@lru_cache(maxsize=64)
def _float_list_head(width: int) -> bytes:
    """What precedes `width` bytes of packed floats in a `Value`: tag and length of the list, then of its floats."""
    floats = tag(FloatList, "val") + varint(width)
    return tag(Value, "float_list_val") + varint(len(floats) + width) + floats


def tag(message: Any, field: str) -> bytes:
    """What precedes the length and content of a field, other than a number, in a serialized message."""
    return varint(message.DESCRIPTOR.fields_by_name[field].number << 3 | _LENGTH_DELIMITED)


def varint(number: int) -> bytes:
    """A length as it is in a serialized message."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_BYTES = tag(Value, "bytes_val")
