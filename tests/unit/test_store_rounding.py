"""Rounded embeddings: how far off they are, that each says how it is to be read, and what stays float32."""

from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Array, Float32, Int64
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from updater.domain.values import EmbeddingFormat
from updater.errors import ConfigError
from updater.store.online.proto_encoding import feature_values, float_lists
from updater.store.online.rounding import MARK, Vectors, are_roundings, decode, encode, rounded

FORMATS: tuple[EmbeddingFormat, ...] = get_args(EmbeddingFormat)
ROUNDED: tuple[EmbeddingFormat, ...] = ("float16", "int8")
OFF_BY = {"float16": 1 / 2_048, "int8": 1.00001 / 254}
"""At most, of the largest component."""
VECTORS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(width=32))
EMBEDDINGS = st.lists(st.none() | st.lists(st.floats(-1, 1, width=32), min_size=8, max_size=8), min_size=1, max_size=6)


def column(vectors: Any) -> pa.Array:
    return pa.array(vectors, pa.list_(pa.float32()))


def read(values: list[bytes]) -> list[list[float] | None]:
    """What a reader of Feast sees of stored values."""
    seen = [Value.FromString(value or b"") for value in float_lists(values)]
    assert {value.WhichOneof("val") for value in seen} <= {None, "float_list_val"}
    return [list(value.float_list_val.val) if value.ByteSize() else None for value in seen]


@pytest.mark.parametrize("form", ROUNDED)
@given(vectors=VECTORS)
def test_any_vector_is_near_or_exact(form: EmbeddingFormat, vectors: Vectors) -> None:
    encoded, found = encode(vectors, form), rounded(vectors, form)
    for content, vector, near in zip(encoded, vectors, found, strict=True):
        if content is None:
            assert near.tobytes() == vector.tobytes()
            continue
        peak = np.abs(vector).max()
        assert np.isfinite(near).all()
        assert np.abs(near.astype(float) - vector).max() <= OFF_BY[form] * float(peak)
        assert near.tobytes() == decode([content])[0]
        assert encode(near[None], "float16") == [content] or form == "int8"


@pytest.mark.parametrize("form", FORMATS)
@given(vectors=VECTORS)
def test_a_vector_has_the_same_bytes_in_any_company(form: EmbeddingFormat, vectors: Vectors) -> None:
    assert [encode(vector[None], form)[0] for vector in vectors] == encode(vectors, form)


def test_bytes_are_what_the_page_says() -> None:
    [half], [byte] = (encode(np.array([[0.5, -1.0, 0.0]], np.float32), form) for form in ROUNDED)
    assert half == b"\x93updf2" + np.array([0.5, -1.0, 0.0], "<f2").tobytes()
    assert byte == b"\x93updi1" + np.array([1 / 127], "<f4").tobytes() + np.array([64, -127, 0], "i1").tobytes()
    assert rounded(np.array([[2.5, 3.5, -0.5, 127.0]], np.float32), "int8").tolist() == [[2.0, 4.0, 0.0, 127.0]]


@pytest.mark.parametrize("form", ROUNDED)
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 3.4e38, 1e-45, 1e-39])
def test_what_a_format_cannot_hold_stays_float32(form: EmbeddingFormat, odd: float) -> None:
    vectors = np.array([[odd, 0.0], [0.25, -0.5], [0.0, 0.0]], np.float32)
    encoded = encode(vectors, form)
    holds = form == "int8" and odd == 3.4e38
    assert [content is not None for content in encoded] == [holds, True, True]
    found = np.array(read(feature_values(column(vectors.tolist()), Array(Float32), form)), np.float32)
    assert found.tobytes() == rounded(vectors, form).tobytes()
    assert found[2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("form", ROUNDED)
def test_embeddings_take_fewer_bytes(form: EmbeddingFormat) -> None:
    vectors = np.random.default_rng(1).standard_normal((2, 128)).astype("f4")
    sizes = {len(value) for value in feature_values(column(list(vectors)), Array(Float32), form)}
    assert sizes == {{"float16": 128 * 2 + 9, "int8": 128 + 4 + 9}[form]}
    assert {len(value) for value in feature_values(column(list(vectors)), Array(Float32))} == {128 * 4 + 7}


@given(rows=EMBEDDINGS, data=st.data())
def test_values_of_all_formats_lie_beside_each_other(rows: Any, data: st.DataObject) -> None:
    forms = data.draw(st.lists(st.sampled_from(FORMATS), min_size=len(rows), max_size=len(rows)))
    stored = [feature_values(column([row]), Array(Float32), form)[0] for row, form in zip(rows, forms, strict=True)]
    expected = [
        None if row is None else rounded(np.array([row], np.float32), form)[0].tolist()
        for row, form in zip(rows, forms, strict=True)
    ]
    assert read(stored) == expected
    assert float_lists([None, *stored])[0] is None
    assert are_roundings(read(stored), rows) == [row is not None for row in rows]


@given(rows=EMBEDDINGS, form=st.sampled_from(FORMATS))
def test_a_column_is_read_as_its_rows_are(rows: Any, form: EmbeddingFormat) -> None:
    whole = feature_values(column([None, *rows]).slice(1), Array(Float32), form)
    assert whole == [feature_values(column([row]), Array(Float32), form)[0] for row in rows]
    assert read(whole) == [value for one in whole for value in read([one])]


def test_another_value_is_no_rounding() -> None:
    exact = [[0.3, -0.7], [0.3, -0.7], [0.3, -0.7], [0.3, -0.7], None, [0.3, -0.7]]
    near = rounded(np.array([[0.3, -0.7]], np.float32), "int8")[0].tolist()
    other = np.nextafter(np.float32(near[0]), np.float32(1))
    assert are_roundings([near, [float(other), near[1]], near[:1], None, near, [0.31, -0.7]], exact) == [
        True,
        *[False] * 5,
    ]


OTHERS = st.binary(max_size=8).filter(lambda content: not content.startswith(MARK))


@given(st.lists(st.none() | OTHERS | st.sampled_from([MARK[1:], MARK[:3]]), max_size=5))
def test_bytes_of_others_are_left_alone(contents: list[bytes | None]) -> None:
    values = [None if content is None else Value(bytes_val=content).SerializeToString() for content in contents]
    assert float_lists(values) == values


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_only_lists_of_floats_are_rounded(numbers: list[int | None]) -> None:
    column = pa.array(numbers, pa.int64())
    assert feature_values(column, Int64, "int8") == feature_values(column, Int64)


def test_a_format_of_a_later_version_is_named() -> None:
    with pytest.raises(ConfigError, match=r"format b'z9'.*version that wrote it"):
        float_lists([Value(bytes_val=MARK + b"z9123").SerializeToString()])
