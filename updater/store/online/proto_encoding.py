"""Arrow columns as the bytes of Feast's `Value` messages.

An embedding is copied as one block. Feast's own conversion makes a Python object of each of its floats, which is most
of the time of a materialization.
"""

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.protos.feast.types.Value_pb2 import FloatList, Value, ValueType
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Float32

from updater.domain import columns

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


def feature_values(column: pa.Array, dtype: Any) -> list[bytes]:
    """Serialized values of one feature of Feast type `dtype`; empty bytes where the column is null."""
    if dtype == Array(Float32) and (dim := _common_length(column)) is not None:
        return _float_lists(column, dim)
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


def _float_lists(column: pa.Array, dim: int) -> list[bytes]:
    width = 4 * dim
    flat = column.flatten().to_numpy(zero_copy_only=False).astype("<f4", copy=False)
    block = np.ascontiguousarray(flat).tobytes()
    head = _float_list_head(width)
    values = iter(range(0, len(block), width))
    if not column.null_count:
        return [head + block[start : start + width] for start in values]
    starts = (next(values) if valid else None for valid in column.is_valid().to_pylist())
    return [NULL if start is None else head + block[start : start + width] for start in starts]


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
