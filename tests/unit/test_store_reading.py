"""A response that is put together from stored bytes is the one that Feast builds value by value."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock, call, patch

import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.types import Int64
from hypothesis import given
from hypothesis import strategies as st

from updater.errors import ConfigError
from updater.store.online.reading import ViewCells, view_cells
from updater.store.online.write_ordering import to_microseconds
from updater.store.online_sqlite import GuardedSqliteOnlineStore

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


def _response(store_type: type[OnlineStore], rows: dict[str, Any], wanted: str, full_names: bool) -> bytes:
    source = FileSource(path="nowhere", timestamp_field="at")
    schema = [Field(name=name, dtype=Int64) for name in FEATURES]
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    views = [FeatureView(name=name, entities=[user], schema=schema, source=source) for name in ("left", "right")]
    response = GetOnlineFeaturesResponse()
    store_type._read_features_per_fv(
        _Stored(rows),
        Mock(entity_key_serialization_version=3),
        [(view, FEATURES) for view in views],
        {"user_id": [Value(string_val=name) for name in wanted]},
        {"user": "user_id"},
        response,
        full_names,
        False,
    )
    return bytes(response.SerializeToString(deterministic=True))


@pytest.mark.parametrize("full_names", [True, False])
@given(rows=st.fixed_dictionaries(dict.fromkeys(IDS, ROW)), wanted=st.text(IDS, min_size=1, max_size=6))
def test_any_cells(full_names: bool, rows: dict[str, Any], wanted: str) -> None:
    ours = _response(GuardedSqliteOnlineStore, rows, wanted, full_names)
    assert ours == _response(OnlineStore, rows, wanted, full_names)


def test_feast_counts_statuses_when_its_metrics_are_on() -> None:
    with (
        patch("feast.metrics._config", Mock(online_features=True)),
        patch("feast.metrics.track_feature_statuses") as count,
    ):
        _response(GuardedSqliteOnlineStore, {"a": (datetime(2024, 1, 1, tzinfo=UTC), [Value(), None])}, "a", False)
    assert count.call_args_list == [call("left", 1, 1), call("right", 1, 1)]


def test_rows_in_any_order() -> None:
    at = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)]
    rows = [(1, b"b", "two", b"6", at[1]), (0, b"a", "one", b"4", at[0])]
    assert view_cells(rows, [b"b", b"a", b"b"], [("left", ["two", "one"]), ("right", ["two"])]) == [
        ViewCells([None, at[0], None], [[None, None, None], [None, b"4", None]]),
        ViewCells([at[1], None, at[1]], [[b"6", None, b"6"]]),
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((0, b"a", b"one", b"4"), "feature b'one'"),
        ((0, b"a", "gone", b"4"), "'gone'"),
        ((0, "a", "one", b"4"), "an entity"),
    ],
)
def test_what_nobody_asked_for_is_no_missing_value(row: Any, words: str) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    with pytest.raises(ConfigError, match=f"{words}.*not requested.*UTF-8"):
        view_cells([(*row, at)], [b"a"], [("left", ["one"])])


@given(st.integers(-(2**40), 2**50))
def test_redis_gives_timestamps_to_the_microsecond(microseconds: int) -> None:
    from updater.store.online_redis import _instant, _timestamp_with_sort_key

    assert to_microseconds(_instant(_timestamp_with_sort_key(microseconds, None))) == microseconds
