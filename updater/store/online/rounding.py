"""Embeddings in fewer bytes: as float16, or as int8 with a scale for each vector.

A rounded vector is a few bytes that say themselves how they are to be read: a mark, the format's code, then numbers. So
vectors of all formats lie beside each other, and which one is configured matters only to what is written next.

    float16    b"\x93updf2", then a little-endian float16 of each component
    int8       b"\x93updi1", then the scale as a little-endian float32, then a signed byte of each component

Codes are numpy's. Either format is off by at most the largest component's size over 2,048 (float16) or over 254 (int8).
A vector that it cannot hold so, because it has an infinity, a NaN, or nothing but numbers that are too large or too
small, is not rounded.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt

from updater.domain.values import EmbeddingFormat
from updater.errors import ConfigError

Vectors = npt.NDArray[np.float32]
MARK = b"\x93upd"
"""What every rounded vector begins with; it is no text in UTF-8, and nothing that a common kind of file begins with."""
FLOAT16, INT8 = MARK + b"f2", MARK + b"i1"
_HEAD = len(FLOAT16)
LARGEST_INT8 = 127
_SMALLEST_FLOAT16 = np.float32(2**-14)
"""Below it float16 has fewer than its eleven binary digits."""
_SMALLEST_SCALE = np.finfo(np.float32).tiny
"""Below it float32 has fewer than its twenty-four."""


def encode(vectors: Vectors, form: EmbeddingFormat) -> list[bytes | None]:
    """The bytes of each vector in a format; None for one that has to stay float32.

    Args:
        vectors: shape (N, D).
        form: the format; vectors always stay what they are in float32.
    """
    if form == "float32" or not vectors.size:
        return [None] * len(vectors)
    peaks = np.abs(vectors).max(axis=1)
    if form == "float16":
        with np.errstate(over="ignore"):
            halves = vectors.astype("<f2")
        holds = np.isfinite(halves).all(axis=1) & ((peaks >= _SMALLEST_FLOAT16) | (peaks == 0))
        return _rows(FLOAT16, halves.view(np.uint8), holds)
    # Of float32, because that is what is stored; numpy rounds halves to even.
    scales = (peaks / np.float32(LARGEST_INT8)).astype("<f4")
    with np.errstate(over="ignore", invalid="ignore"):
        holds = np.isfinite(scales * np.float32(LARGEST_INT8)) & ((scales >= _SMALLEST_SCALE) | (peaks == 0))
        steps = np.where(scales > 0, scales, np.float32(1))[:, None]
        whole = np.rint(vectors[holds] / steps[holds])
    numbers = np.zeros(vectors.shape, np.int8)
    numbers[holds] = whole
    return _rows(INT8, np.hstack([scales[:, None].view(np.uint8), numbers.view(np.uint8)]), holds)


def decode(encoded: Sequence[bytes]) -> list[bytes]:
    """Little-endian float32 bytes of each vector.

    Raises:
        ConfigError: a vector is in a format that is not known here.
    """
    if len({(vector[:_HEAD], len(vector)) for vector in encoded}) > 1:
        return [floats for vector in encoded for floats in decode([vector])]
    if not encoded:
        return []
    block = np.frombuffer(b"".join(encoded), np.uint8).reshape(len(encoded), -1)
    vectors = np.ascontiguousarray(_vectors(encoded[0][:_HEAD], block), "<f4")
    width, content = 4 * vectors.shape[1], vectors.tobytes()
    return [content[start : start + width] for start in range(0, len(content), width)]


def rounded(vectors: Vectors, form: EmbeddingFormat) -> Vectors:
    """The vectors as they are read after they were written in a format, shape (N, D)."""
    encoded = {row: content for row, content in enumerate(encode(vectors, form)) if content is not None}
    found = vectors.astype("<f4")
    if encoded:
        found[list(encoded)] = np.frombuffer(b"".join(decode([*encoded.values()])), "<f4").reshape(len(encoded), -1)
    return found


def are_roundings(read: Sequence[Sequence[float] | None], exact: Sequence[Sequence[float] | None]) -> list[bool]:
    """Whether each vector that was read is to the bit what one of the formats makes of the exact one."""
    found = [False] * len(read)
    rows_of_width = defaultdict(list)
    for row, (one, other) in enumerate(zip(read, exact, strict=True)):
        if one is not None and other is not None and len(one) == len(other):
            rows_of_width[len(one)].append(row)
    for rows in rows_of_width.values():
        served, stored = (np.array([vectors[row] for row in rows], np.float32) for vectors in (read, exact))
        alike = [(rounded(stored, form) == served).all(axis=1) for form in get_args(EmbeddingFormat)]
        for row, is_alike in zip(rows, np.any(alike, axis=0).tolist(), strict=True):
            found[row] = is_alike
    return found


def _rows(head: bytes, content: npt.NDArray[np.uint8], holds: npt.NDArray[np.bool_]) -> list[bytes | None]:
    width, block = content.shape[1], content.tobytes()
    return [head + block[row * width : (row + 1) * width] if held else None for row, held in enumerate(holds.tolist())]


def _vectors(head: bytes, block: npt.NDArray[np.uint8]) -> Vectors:
    """Vectors of one format out of their bytes, shape (N, D)."""
    content = np.ascontiguousarray(block[:, _HEAD:])
    if head == FLOAT16:
        halves: Vectors = content.view("<f2").astype(np.float32)
        return halves
    if head == INT8:
        scales: Vectors = np.ascontiguousarray(content[:, :4]).view("<f4")
        return content[:, 4:].view(np.int8).astype(np.float32) * scales
    raise ConfigError(
        f"The online store holds an embedding in a format {head[len(MARK) :]!r} that this version of updater does not "
        "know; read it with the version that wrote it, or a newer one."
    )
