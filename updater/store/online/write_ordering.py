"""Which of two values of one online row is newer, decided the same way by every online store.

A value is newer if its (event_timestamp, created_timestamp) is later; an equal pair replaces, so that writing a window
again changes nothing and a correction at the same event_timestamp is taken if it was created later.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple, Protocol, runtime_checkable

from feast.infra.key_encoding_utils import serialize_entity_key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BIAS = 1 << 63


class OnlineRow(NamedTuple):
    """One entity's values in one feature view, as an online store keeps them."""

    entity_key: bytes
    """Feast's serialized entity key."""
    event_us: int
    """Event timestamp, microseconds since the epoch."""
    created_us: int | None
    """Created timestamp, microseconds since the epoch; None is older than any."""
    values: Sequence[bytes]
    """Serialized `feast.types.Value` of each feature; empty bytes are null."""


@runtime_checkable
class GuardedOnlineStore(Protocol):
    """An online store that keeps the newest value of a row, whatever the order of writes."""

    def write_online_rows(self, config: Any, table: Any, features: Sequence[str], rows: Sequence[OnlineRow]) -> None:
        """Write `rows`, whose values are in the order of `features`, where they are not older than what is stored."""

    def delete_entities(self, config: Any, entity_keys: Sequence[bytes]) -> int:
        """Delete entities from all feature views, registered or not, and what is left of them where the store keeps
        deleted rows. Returns the rows deleted, as the store counts them.
        """

    def find_entities(self, config: Any, entity_keys: Sequence[bytes]) -> list[str]:
        """Where the store holds anything of the entities, deleted rows included; it names no entity."""


def sort_key(event_us: int, created_us: int | None) -> bytes:
    """Sixteen bytes that sort as (event_timestamp, created_timestamp) does."""
    return struct.pack(">QQ", event_us + _BIAS, 0 if created_us is None else created_us + _BIAS)


def newest(rows: Iterable[OnlineRow]) -> list[OnlineRow]:
    """The newest row of each entity key, sorted by key; of equal ones the last."""
    kept: dict[bytes, OnlineRow] = {}
    for row in rows:
        other = kept.get(row.entity_key)
        if other is None or sort_key(row.event_us, row.created_us) >= sort_key(other.event_us, other.created_us):
            kept[row.entity_key] = row
    return [kept[key] for key in sorted(kept)]


def online_row_batches(data: Iterable[Any], key_version: int) -> Iterator[tuple[tuple[str, ...], list[OnlineRow]]]:
    """Feast's rows (entity key, values, event timestamp, created timestamp) as online rows, grouped by features."""
    for features, group in groupby(data, key=lambda row: tuple(row[1])):
        yield (
            features,
            [
                OnlineRow(
                    serialize_entity_key(key, entity_key_serialization_version=key_version),
                    to_microseconds(event),
                    None if created is None else to_microseconds(created),
                    [value.SerializeToString() for value in values.values()],
                )
                for key, values, event, created in group
            ],
        )


def to_microseconds(instant: datetime) -> int:
    """Microseconds since the epoch; a naive instant is UTC, as Feast's interface says."""
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def to_datetime(microseconds: int) -> datetime:
    """The UTC instant that lies `microseconds` after the epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)
