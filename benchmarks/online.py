"""Online reads of all features of a service, this project's store against stock Feast's in turns, wall-clock time.

Both hold the same users and are read through Feast's `get_online_features`; what is compared is what they give and how
long it takes.
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from feast import FeatureService, FeatureStore

from benchmarks.row import Row, measured
from benchmarks.stores import SERVICE, STORES, in_each_store, opened, user_id, write_offline
from benchmarks.timing import ratios, top_functions
from updater.domain.columns import JOIN_KEY
from updater.settings import Settings

PERCENTILES = (50, 99)
READS = {1: 600, 100: 100}
"""Reads per round, by the number of users that are read at once."""
BLOCK = 20
"""Reads from one store before the other has its turn."""
WARMING = 20
"""Reads before that, whose values are compared."""


def rows(smoke: bool) -> Iterator[Row]:
    """Rows of each store, number of users and percentile."""
    num_users, rounds, reads = (500, 2, {1: 20, 100: 5}) if smoke else (20_000, 5, READS)
    yield from in_each_store(
        STORES, partial(_compare, num_users=num_users, rounds=rounds, reads=reads), "online read from"
    )


def _compare(settings: Settings, num_users: int, rounds: int, reads: dict[int, int]) -> Iterator[Row]:
    window = write_offline(settings, num_users)
    with ExitStack() as stack:
        readers = {}
        for name in ("ours", "stock"):
            store = stack.enter_context(opened(settings, stock=name == "stock"))
            with redirect_stdout(io.StringIO()):
                store.materialize(window.as_of, window.as_of)
            readers[name] = Reader(store, store.get_feature_service(SERVICE))
        for at_once, num_reads in reads.items():
            for entities in entities_of(num_users, at_once, WARMING, round_number=rounds):
                ours, stock = (reader.read(entities) for reader in readers.values())
                if ours != stock:
                    raise RuntimeError(f"The {settings.online_store.type} stores give different values.")
            found = [
                read_in_turns(readers, entities_of(num_users, at_once, num_reads, number)) for number in range(rounds)
            ]
            again = entities_of(num_users, at_once, num_reads, round_number=0)
            where = top_functions(partial(read_in_turns, {"ours": readers["ours"]}, again))
            for percentile in PERCENTILES:
                values = {name: [float(np.percentile(each[name], percentile)) for each in found] for name in readers}
                yield measured(
                    f"online read from {settings.online_store.type}, {at_once} user{'s' * (at_once > 1)}, "
                    f"p{percentile}, over stock Feast's",
                    ratios(values["ours"], values["stock"]),
                    "<= 1.0",
                    note=f"ours {1e3 * np.median(values['ours']):.3g} ms"
                    + f"; {where}" * (percentile == PERCENTILES[0]),
                )


def entities_of(num_users: int, at_once: int, num_reads: int, round_number: int) -> list[list[dict[str, str]]]:
    """Whom to read: `num_reads` times `at_once` users, others in each round."""
    random = np.random.default_rng([at_once, round_number])
    return [
        [{JOIN_KEY: user_id(user)} for user in users] for users in random.integers(num_users, size=(num_reads, at_once))
    ]


def read_in_turns(readers: dict[str, "Reader"], reads: list[list[dict[str, str]]]) -> dict[str, list[float]]:
    """Seconds of each read: the same users from one store after the other, in blocks, which one first in turns.

    Feast remembers which views a request means for one registry per process, so a process that reads from two stores in
    turns would look that up for every read, which takes several times as long as a read. Each block begins with a read
    that is not measured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    order = list(readers.items())
    for start in range(0, len(reads), BLOCK):
        order.reverse()
        for name, reader in order:
            reader.read(reads[start - 1])
            for entities in reads[start : start + BLOCK]:
                begun = perf_counter()
                reader.read(entities)
                seconds[name].append(perf_counter() - begun)
    return seconds


class Reader:
    """A store and what is read of it."""

    def __init__(self, store: FeatureStore, features: FeatureService | list[str]) -> None:
        self.store, self.features = store, features

    def read(self, entities: list[dict[str, str]]) -> dict[str, list[Any]]:
        """All of these features."""
        found: dict[str, list[Any]] = self.store.get_online_features(self.features, entities).to_dict()
        return found
