"""A response that is put together from stored bytes is the one that Feast builds value by value."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.types import Int64
from hypothesis import given
from hypothesis import strategies as st

from updater.store.online_sqlite import GuardedSqliteOnlineStore
from updater.store.reading import ViewCells

INSTANTS = st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
VALUES = st.one_of(
    st.just(Value()),
    st.builds(Value, int64_val=st.integers(-(2**63), 2**63 - 1)),
    st.builds(Value, string_val=st.text(st.characters(exclude_categories=["Cs"]), max_size=200)),
    st.builds(lambda floats: Value(float_list_val=FloatList(val=floats)), st.lists(st.floats(width=32), max_size=40)),
)
ROW = st.none() | st.tuples(INSTANTS, st.lists(st.none() | VALUES, min_size=2, max_size=2))
FEATURES = ["one", "two"]
IDS = "abcd"


class _Stored(GuardedSqliteOnlineStore):
    """A store that holds given rows, read either way."""

    def __init__(self, rows: dict[str, Any]) -> None:
        self.rows = rows

    def read_cells(self, config: Any, entity_keys: Any, wanted: Any) -> list[ViewCells]:
        # A key ends in the id, which has one letter.
        rows = [self.rows[key[-1:].decode()] or (None, [None, None]) for key in entity_keys]
        columns = [[None if row[1][f] is None else row[1][f].SerializeToString() for row in rows] for f in range(2)]
        return [ViewCells([row[0] for row in rows], columns) for _ in wanted]

    def online_read(self, config: Any, table: Any, entity_keys: Any, requested_features: Any = None) -> list[Any]:
        rows = [self.rows[key.entity_values[0].string_val] for key in entity_keys]
        return [
            (None, None)
            if row is None
            else (row[0], {f: v for f, v in zip(FEATURES, row[1], strict=True) if v is not None})
            for row in rows
        ]


@pytest.mark.parametrize("full_names", [True, False])
@given(rows=st.fixed_dictionaries(dict.fromkeys(IDS, ROW)), wanted=st.text(IDS, min_size=1, max_size=6))
def test_any_cells(full_names: bool, rows: dict[str, Any], wanted: str) -> None:
    source = FileSource(path="nowhere", timestamp_field="at")
    schema = [Field(name=name, dtype=Int64) for name in FEATURES]
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    views = [FeatureView(name=name, entities=[user], schema=schema, source=source) for name in ("left", "right")]
    config = Mock(entity_key_serialization_version=3)
    responses = []
    for store_type in (GuardedSqliteOnlineStore, OnlineStore):
        response = GetOnlineFeaturesResponse()
        store_type._read_features_per_fv(
            _Stored(rows),
            config,
            [(view, FEATURES) for view in views],
            {"user_id": [Value(string_val=name) for name in wanted]},
            {"user": "user_id"},
            response,
            full_names,
            False,
        )
        responses.append(response.SerializeToString(deterministic=True))
    assert responses[0] == responses[1]
