"""Embeddings as float16 and int8 online over the same ones as float32: bytes of a row, and time to write and read it.

A row is one of a feature view with an embedding of 128 numbers and three scalars. Writing is counted in CPU seconds of
this process, over what is there; reading in wall-clock time through Feast's `get_online_features`, in turns. Bytes are
what the store itself says of all rows, with keys and indexes.
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import numpy as np
from feast import FeatureStore

from benchmarks.online import WARMING, Reader, entities_of, read_in_turns
from benchmarks.row import Row, measured
from benchmarks.stores import in_each_store, opened, user_id, write_offline
from benchmarks.timing import cpu_seconds, in_turns, ratios
from updater.domain.columns import JOIN_KEY
from updater.domain.values import EmbeddingFormat
from updater.domain.window import Window
from updater.settings import Settings
from updater.store.online.proto_encoding import entity_keys

KINDS = ("sqlite", "redis", "postgres")
VIEW = "lapse_v1"
EXACT, *ROUNDED = get_args(EmbeddingFormat)
READS = {1: 200, 100: 20}
"""Reads per round, by the number of users that are read at once."""


def rows(smoke: bool) -> Iterator[Row]:
    """Rows of each store and format."""
    num_users, rounds, reads = (200, 2, {1: 20, 100: 20}) if smoke else (5_000, 5, READS)
    yield from in_each_store(KINDS, partial(_compare, num_users=num_users, rounds=rounds, reads=reads), "formats in")


def _compare(settings: Settings, num_users: int, rounds: int, reads: dict[int, int]) -> Iterator[Row]:
    window, kind = write_offline(settings, num_users), settings.online_store.type
    with ExitStack() as stack:
        stores = {
            form: stack.enter_context(opened(_with_format(settings, form), stock=False)) for form in (EXACT, *ROUNDED)
        }
        write = {form: partial(_materialize, store, window) for form, store in stores.items()}
        for materialize in write.values():
            materialize()
        users = [user_id(number) for number in range(num_users)]
        size = {form: _bytes_of_rows(store, users) / num_users for form, store in stores.items()}
        cell = {form: len(_embedding(store, users[0])) for form, store in stores.items()}
        for form in ROUNDED:
            note = f"{size[form]:,.0f} and {size[EXACT]:,.0f} bytes; of the value alone {cell[form]} and {cell[EXACT]}"
            yield measured(f"bytes of a row in {kind}, {form} over {EXACT}", [size[form] / size[EXACT]], note=note)
        seconds = in_turns({form: partial(cpu_seconds, materialize) for form, materialize in write.items()}, rounds)
        for form in ROUNDED:
            note = (
                f"{1e6 * min(seconds[form]) / num_users:.3g} and {1e6 * min(seconds[EXACT]) / num_users:.3g} µs a row"
            )
            compared = ratios(seconds[form], seconds[EXACT])
            yield measured(f"materialize into {kind}, CPU seconds, {form} over {EXACT}", compared, note=note)
        names = [f"{VIEW}:{feature.name}" for feature in stores[EXACT].get_feature_view(VIEW).features]
        readers = {form: Reader(store, names) for form, store in stores.items()}
        for at_once, num_reads in reads.items():
            for entities in entities_of(num_users, at_once, WARMING, round_number=rounds):
                for reader in readers.values():
                    reader.read(entities)
            found = [read_in_turns(readers, entities_of(num_users, at_once, num_reads, n)) for n in range(rounds)]
            median = {form: [float(np.median(each[form])) for each in found] for form in readers}
            for form in ROUNDED:
                yield measured(
                    f"online read from {kind}, {at_once} user{'s' * (at_once > 1)}, p50, {form} over {EXACT}",
                    ratios(median[form], median[EXACT]),
                    note=f"{1e3 * min(median[form]):.3g} and {1e3 * min(median[EXACT]):.3g} ms at best",
                )


def _with_format(settings: Settings, form: EmbeddingFormat) -> Settings:
    return replace(settings, online_store=replace(settings.online_store, embeddings=form))


def _materialize(store: FeatureStore, window: Window) -> None:
    with redirect_stdout(io.StringIO()):
        store.materialize(window.as_of, window.as_of, feature_views=[VIEW])


def _embedding(store: FeatureStore, user: str) -> bytes:
    """The bytes that the store holds of a user's embedding."""
    wanted = [(store.get_feature_view(VIEW), ["lapse_embedding"])]
    [cells] = store.provider.online_store.read_cells(store.config, entity_keys(JOIN_KEY, [user]), wanted)
    return bytes(cells.columns[0][0])


def _bytes_of_rows(store: FeatureStore, users: list[str]) -> int:
    """What all rows of the view take in the store."""
    online: Any = store.provider.online_store
    table = f"{store.project}_{VIEW}"
    if store.config.online_store.type.endswith("GuardedRedisOnlineStore"):
        keys = [key + store.project.encode() for key in entity_keys(JOIN_KEY, users)]
        with online.client(store.config).pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.memory_usage(key, samples=0)
            return sum(pipe.execute())
    with ExitStack() as stack:
        if store.config.online_store.type.endswith("GuardedSqliteOnlineStore"):
            connection = online.connection(store.config)
            query = "SELECT sum(pgsize) FROM dbstat WHERE name = ? OR name LIKE ? || '%'"
            [size] = connection.execute(query, (table, f"sqlite_autoindex_{table}")).fetchone()
        else:
            connection = stack.enter_context(online.connection(store.config, autocommit=True))
            [size] = connection.execute("SELECT pg_total_relation_size(%s::regclass)", (f'"{table}"',)).fetchone()
    return int(size)
