"""Feast's Redis online store with a guard against older values that holds under concurrent writers.

The stock store reads all timestamps before it writes, so two writers can race, and it refuses a
correction at an equal event_timestamp. Here each row is one atomic script. The created timestamp, which it needs too,
travels with the event timestamp, as an additional field of that protobuf message: Feast's own clients skip it when they
read, and whatever removes the one removes the other.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import repeat
from typing import Any, Literal

from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

from updater.domain.values import EmbeddingFormat
from updater.store.feast_internals import ReadsRedis, redis_field
from updater.store.online.lifecycle import OwnViews
from updater.store.online.proto_encoding import without_join_keys
from updater.store.online.reading import BatchedReads, ViewCells
from updater.store.online.write_ordering import OnlineRow, online_row_batches, sort_key, to_datetime

ROWS_PER_PIPELINE = 1_000
SCAN_COUNT = 10_000
"""Keys that the server looks at per call of SCAN."""

# Field 15 of the message, which a Timestamp does not have: 39 decimal digits, enough for the 16 bytes of a sort key.
# Digits only, because Lua compares strings by the server's locale.
_SORT_KEY_DIGITS = 39
_SORT_KEY_HEAD = bytes([15 << 3 | 2, _SORT_KEY_DIGITS])

# Key: the entity. Arguments: timestamp field, timestamp with sort key, pairs of feature field and value, TTL or 0.
# EVAL and not EVALSHA: as fast here, and Feast's cluster client has no EVALSHA in pipelines.
_WRITE_UNLESS_OLDER = f"""
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local function sort_key(stamp) return string.sub(stamp, -{_SORT_KEY_DIGITS}) end
if stored and #stored > {_SORT_KEY_DIGITS} and sort_key(stored) > sort_key(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 1, #ARGV - 1))
if ARGV[#ARGV] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[#ARGV]) end
return 1
"""


class GuardedRedisOnlineStoreConfig(RedisOnlineStoreConfig):  # type: ignore[misc]
    """Config of `GuardedRedisOnlineStore`, with the stock store's keys."""

    type: Literal["updater.store.online_redis.GuardedRedisOnlineStore"] = (
        "updater.store.online_redis.GuardedRedisOnlineStore"
    )
    skip_dedup: Literal[False] = False
    embeddings: EmbeddingFormat = "float32"
    """How the embeddings of this project's views are written; each says how it is to be read."""


class GuardedRedisOnlineStore(ReadsRedis, OwnViews, BatchedReads, RedisOnlineStore):  # type: ignore[misc]
    """Keeps the newest value of every row, in hashes that Feast's own clients can read."""

    def online_write_batch(
        self, config: Any, table: Any, data: list[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's interface for writing rows."""
        for features, rows in online_row_batches(data, config.entity_key_serialization_version):
            self.write_online_rows(config, table, features, rows)
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self, config: Any, table: Any, data: list[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """Feast's interface for writing rows from an event loop."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def write_online_rows(self, config: Any, table: Any, features: Sequence[str], rows: Sequence[OnlineRow]) -> None:
        """Write serialized rows, each atomically."""
        view = compute_versioned_name(table, config.registry.enable_online_feature_view_versioning)
        fields = [_field(view, feature) for feature in features]
        project = config.project.encode()
        time_to_live = config.online_store.key_ttl_seconds or 0
        client = self.client(config)
        for start in range(0, len(rows), ROWS_PER_PIPELINE):
            with client.pipeline(transaction=False) as pipe:
                for row in rows[start : start + ROWS_PER_PIPELINE]:
                    pairs = [cell for pair in zip(fields, row.values, strict=True) for cell in pair]
                    stamp = _timestamp_with_sort_key(row.event_us, row.created_us)
                    key = row.entity_key + project
                    pipe.eval(_WRITE_UNLESS_OLDER, 1, key, f"_ts:{view}", stamp, *pairs, time_to_live)
                pipe.execute()

    def delete_entities(self, config: Any, entity_keys: Sequence[bytes]) -> int:
        """Delete entities: one hash holds all feature views of one."""
        client = self.client(config)
        with client.pipeline(transaction=False) as pipe:
            for key in entity_keys:
                pipe.delete(key + config.project.encode())
            return sum(pipe.execute())

    def find_entities(self, config: Any, entity_keys: Sequence[bytes]) -> list[str]:
        """Keys of this project with the entities' values, whatever their join key is called."""
        client, project = self.client(config), config.project.encode()
        patterns = [b"*" + _escaped(without_join_keys(key) + project) for key in entity_keys]
        found = [key for pattern in patterns for key in client.scan_iter(match=pattern, count=SCAN_COUNT)]
        return [f"a key of {len(key)} bytes, BLAKE2b {blake2b(key, digest_size=8).hexdigest()}" for key in found]

    def read_cells(
        self, config: Any, entity_keys: Sequence[bytes], wanted: Sequence[tuple[Any, Sequence[str]]]
    ) -> list[ViewCells]:
        """One command reads all views of an entity, so they are of the same moment."""
        versioned, project = config.registry.enable_online_feature_view_versioning, config.project.encode()
        names = [compute_versioned_name(view, versioned) for view, _ in wanted]
        fields: list[str | bytes] = []
        for name, (_, features) in zip(names, wanted, strict=True):
            fields += [*(_field(name, feature) for feature in features), f"_ts:{name}"]
        hashes = self.hashes(config, [(key + project, fields) for key in entity_keys])
        columns: Iterator[Sequence[bytes | None]] = zip(*hashes, strict=True) if hashes else repeat(())
        read = []
        for _, features in wanted:
            values, stamps = [next(columns) for _ in features], next(columns)
            # The stock store calls an unknown entity present and dates it 1970.
            found = [
                [None if stamp is None else value or b"" for value, stamp in zip(column, stamps, strict=True)]
                for column in values
            ]
            read.append(ViewCells([None if stamp is None else _instant(bytes(stamp)) for stamp in stamps], found))
        return read

    def features_of(
        self, values: Sequence[bytes | None], view: str, names: list[str]
    ) -> tuple[datetime | None, dict[str, Any] | None]:
        """Feast's hook for what a hash holds."""
        found = dict(zip(names, values, strict=True))
        stamp = found.pop(f"_ts:{view}")
        # The stock store calls an unknown entity present and dates it 1970.
        if stamp is None or not found:
            return None, None
        return _instant(bytes(stamp)), {name: Value.FromString(value or b"") for name, value in found.items()}


@lru_cache(maxsize=4096)
def _field(view: str, feature: str) -> bytes:
    return redis_field(view, feature)


@lru_cache(maxsize=1024)
def _instant(stamp: bytes) -> datetime:
    # The rows of a window share it.
    parsed: datetime = Timestamp.FromString(stamp).ToDatetime(tzinfo=UTC)
    return parsed


def _escaped(key: bytes) -> bytes:
    """`key` as a pattern of SCAN that matches nothing else."""
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]^-\\" else bytes([byte]) for byte in key)


@lru_cache(maxsize=1024)
def _timestamp_with_sort_key(event_us: int, created_us: int | None) -> bytes:
    event = Timestamp()
    event.FromDatetime(to_datetime(event_us))
    digits = b"%0*d" % (_SORT_KEY_DIGITS, int.from_bytes(sort_key(event_us, created_us), "big"))
    return bytes(event.SerializeToString()) + _SORT_KEY_HEAD + digits
