"""Online reads of all feature views of a request at once.

Feast makes a message of every stored value and copies each into the response. What is stored are the bytes of such
messages, so here the response's bytes are put together from them, and parsed once. And what the views of a request
share, the entities, is looked at once and not for each view.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

from updater.errors import ConfigError
from updater.store.feast_internals import ReadsViews, entity_key_messages, remember_services, unique_entities
from updater.store.online.proto_encoding import float_lists, tag, to_floats, varint

_RESULT = tag(GetOnlineFeaturesResponse, "results")
_VALUE = tag(GetOnlineFeaturesResponse.FeatureVector, "values")
_STATUSES = tag(GetOnlineFeaturesResponse.FeatureVector, "statuses")
KEYS_PER_QUERY = 10_000
"""Entities that a store is asked for at a time, in a request for more: databases and memory have limits."""
_INSTANT = tag(GetOnlineFeaturesResponse.FeatureVector, "event_timestamps")


# Every process that reads through one of our stores has this module, Feast's own servers too.
remember_services()

_REMEDY = "check who else writes to it, and that its names are in UTF-8"


class ViewCells(NamedTuple):
    """What is stored of some entities in one feature view."""

    instants: Sequence[datetime | None]
    """Event timestamp of each entity; None where nothing is stored."""
    columns: Sequence[Sequence[bytes | None]]
    """Of each feature the serialized `feast.types.Value` of each entity; None where nothing is stored."""


def view_cells(
    rows: Iterable[tuple[int, bytes, str, bytes, datetime]],
    entity_keys: Sequence[bytes],
    wanted: Sequence[tuple[Any, Sequence[str]]],
) -> list[ViewCells]:
    """Cells in the order of `entity_keys` and `wanted` from rows in any order.

    Args:
        rows: number of the view, entity key, feature, value and event timestamp.
        entity_keys: serialized keys of the entities.
        wanted: feature views and the features to read of each.

    Raises:
        ConfigError: the store answers with something that it was not asked for, such as names in another encoding.
    """
    instants: list[dict[bytes, datetime]] = [{} for _ in wanted]
    columns: list[dict[str, dict[bytes, bytes]]] = [{feature: {} for feature in features} for _, features in wanted]
    for view, key, feature, value, instant in rows:
        column = columns[view].get(feature)
        if column is None:
            raise ConfigError(f"The online store returned feature {feature!r}, which was not requested; {_REMEDY}.")
        column[key] = value
        instants[view][key] = instant
    asked = set(entity_keys)
    if any(not found.keys() <= asked for found in instants):
        raise ConfigError(f"The online store returned an entity that was not requested; {_REMEDY}.")
    return [
        ViewCells(
            [instants[view].get(key) for key in entity_keys],
            [[columns[view][feature].get(key) for key in entity_keys] for feature in features],
        )
        for view, (_, features) in enumerate(wanted)
    ]


class BatchedReads(ReadsViews):
    """Answers `get_online_features` from the bytes that the store holds, all feature views at once.

    What it gives is floats, however an embedding is stored.
    """

    def read_cells(
        self, config: Any, entity_keys: Sequence[bytes], wanted: Sequence[tuple[Any, Sequence[str]]]
    ) -> list[ViewCells]:
        """What is stored of some entities (serialized keys) in feature views, each given with the features to read."""
        raise NotImplementedError

    def _read_all_cells(
        self, config: Any, entity_keys: Sequence[bytes], wanted: Sequence[tuple[Any, Sequence[str]]]
    ) -> list[ViewCells]:
        """As `read_cells`, for any number of entities, and with rounded embeddings as floats."""
        starts = range(0, max(len(entity_keys), 1), KEYS_PER_QUERY)
        parts = [self.read_cells(config, entity_keys[start : start + KEYS_PER_QUERY], wanted) for start in starts]
        found = parts[0] if len(parts) == 1 else [_joined(cells) for cells in zip(*parts, strict=True)]
        return [ViewCells(cells.instants, [float_lists(column) for column in cells.columns]) for cells in found]

    def online_read(
        self, config: Any, table: Any, entity_keys: list[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Feast's interface for reading rows of one view; an unknown entity reads as (None, None)."""
        version = config.entity_key_serialization_version
        keys = [serialize_entity_key(key, entity_key_serialization_version=version) for key in entity_keys]
        features = requested_features or [feature.name for feature in table.features]
        [cells] = self._read_all_cells(config, keys, [(table, features)])
        found = []
        for place, instant in enumerate(cells.instants):
            stored = {name: column[place] for name, column in zip(features, cells.columns, strict=True)}
            values = {name: Value.FromString(value) for name, value in stored.items() if value is not None}
            found.append((instant, values or None))
        return found

    async def online_read_async(
        self, config: Any, table: Any, entity_keys: list[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Feast's interface for reading rows of one view from an event loop."""
        rows: list[Any] = await super().online_read_async(config, table, entity_keys, requested_features)
        for _, values in rows:
            to_floats(values.values() if values else ())
        return rows

    def read_views(
        self,
        config: Any,
        wanted: Sequence[tuple[Any, list[str]]],
        join_key_values: Mapping[str, Sequence[Any]],
        join_keys: Mapping[str, str],
        response: Any,
        full_feature_names: bool,
    ) -> None:
        """Feast's hook for stores that read all views at once."""
        alike = defaultdict(list)
        for number, (view, _) in enumerate(wanted):
            alike[tuple(view.entities), tuple(sorted(view.projection.join_key_map.items()))].append(number)
        version = config.entity_key_serialization_version
        results = [b""] * len(wanted)
        for numbers in alike.values():
            views = [wanted[number] for number in numbers]
            entities, destinations, num_rows = unique_entities(views[0][0], join_key_values, join_keys)
            messages = entity_key_messages(entities)
            keys = [serialize_entity_key(message, entity_key_serialization_version=version) for message in messages]
            order = [0] * num_rows
            for place, rows in enumerate(destinations):
                for row in rows:
                    order[row] = place
            for number, cells in zip(numbers, self._read_all_cells(config, keys, views), strict=True):
                results[number] = _results(cells, order)
        for view, features in wanted:
            prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
            response.metadata.feature_names.val.extend([prefix + feature for feature in features])
        response.MergeFromString(b"".join(results))

    def finish(self, response: Any) -> None:
        """Feast's stores know nothing of rounded embeddings."""
        for vector in response.results:
            to_floats(vector.values)


def _joined(parts: Sequence[ViewCells]) -> ViewCells:
    """What is stored of the entities of all parts, in their order."""
    columns = zip(*(part.columns for part in parts), strict=True)
    return ViewCells(
        [instant for part in parts for instant in part.instants],
        [[value for column in pieces for value in column] for pieces in columns],
    )


def _results(cells: ViewCells, order: Sequence[int]) -> bytes:
    """Serialized results of `GetOnlineFeaturesResponse`, one per feature.

    Args:
        cells: what is stored of the entities.
        order: the entity of each row of the response.
    """
    instants = b"".join([_framed_instant(cells.instants[place]) for place in order])
    all_present = _framed(_STATUSES, bytes([FieldStatus.PRESENT]) * len(order))
    results = []
    for column in cells.columns:
        values = [column[place] for place in order]
        statuses = all_present
        if None in values:
            present = [FieldStatus.NOT_FOUND if value is None else FieldStatus.PRESENT for value in values]
            statuses = _framed(_STATUSES, bytes(present))
        parts = [_head(_VALUE, len(value)) + value for value in [value or b"" for value in values]]
        results.append(_framed(_RESULT, b"".join([*parts, statuses, instants])))
    return b"".join(results)


def _framed(field: bytes, content: bytes) -> bytes:
    return _head(field, len(content)) + content


@lru_cache(maxsize=4096)
def _head(field: bytes, length: int) -> bytes:
    # A feature's values have few lengths.
    return field + varint(length)


@lru_cache(maxsize=1024)
def _framed_instant(instant: datetime | None) -> bytes:
    # The rows of a window share it.
    stamp = Timestamp()
    if instant is not None:
        stamp.FromDatetime(instant)
    return _framed(_INSTANT, stamp.SerializeToString())
