"""Our bytes are the bytes that Feast's own conversion makes."""

from typing import Any

import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Float32, Int64, String
from hypothesis import given
from hypothesis import strategies as st

from updater.store.online.proto_encoding import entity_keys, feature_values

FLOATS = st.floats(width=32)
COLUMNS = [
    (pa.list_(pa.float32()), Array(Float32), st.lists(FLOATS, min_size=3, max_size=3)),
    (pa.list_(pa.float32()), Array(Float32), st.none() | st.lists(FLOATS, min_size=40, max_size=40)),
    (pa.list_(pa.float32()), Array(Float32), st.none() | st.lists(FLOATS, max_size=3)),
    (pa.list_(pa.float32()), Array(Float32), st.lists(st.none() | FLOATS, min_size=2, max_size=2)),
    (pa.int64(), Int64, st.none() | st.integers(-(2**63), 2**63 - 1)),
    (pa.string(), String, st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
]


@pytest.mark.parametrize(("kind", "dtype", "values"), COLUMNS)
@given(data=st.data())
def test_values_are_those_of_feast(kind: Any, dtype: Any, values: Any, data: st.DataObject) -> None:
    column = data.draw(st.lists(values, max_size=8))
    array = pa.array([None, *column], kind).slice(1)
    expected = [v.SerializeToString() for v in python_values_to_proto_values(array.to_pylist(), dtype.to_value_type())]
    assert feature_values(array, dtype) == expected


@pytest.mark.parametrize("dim", [1, 31, 32, 128, 5000])
def test_long_embeddings_have_correct_lengths(dim: int) -> None:
    embedding = [float(i) for i in range(dim)]
    (encoded,) = feature_values(pa.array([embedding], pa.list_(pa.float32())), Array(Float32))
    assert list(Value.FromString(encoded).float_list_val.val) == embedding


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_entity_keys_are_those_of_feast(values: list[str]) -> None:
    expected = [
        serialize_entity_key(EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=value)]), 3)
        for value in values
    ]
    assert entity_keys("user_id", values) == expected
