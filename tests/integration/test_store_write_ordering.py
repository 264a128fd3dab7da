"""No older value overwrites a newer one, in any store, whatever the order and however many write."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import SettingsFactory
from tests.integration.store_helpers import (
    CREATED,
    FEATURES,
    STORES,
    VIEW,
    later,
    store_options,
    vectors,
    write_lapse,
)
from updater.settings import Settings

BASE = datetime(2024, 3, 1, tzinfo=UTC)
FEATURE = "lapse_as_of"
INSTANTS = st.sampled_from([BASE + timedelta(days=d, microseconds=u) for d in (-40_000, 0, 1) for u in (0, 1, 999_999)])
WRITES = st.lists(st.tuples(INSTANTS, st.none() | INSTANTS), min_size=1, max_size=6)


@pytest.fixture(params=STORES)
def settings(request: pytest.FixtureRequest, make_settings: SettingsFactory) -> Settings:
    return make_settings(online_store=store_options(request.param, request))


@pytest.fixture
def opened(settings: Settings) -> Iterator[Any]:
    from updater import store

    store.apply(settings)
    yield store.open_store(settings)


def _write(opened: Any, user: str, rows: list[tuple[datetime, datetime | None, int]]) -> None:
    """Write values of one feature through Feast's own interface, as one batch."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])
    data = [(key, {FEATURE: Value(int64_val=value)}, event, created) for event, created, value in rows]
    view = opened.get_feature_view(VIEW)
    opened.provider.online_store.online_write_batch(opened.config, view, data, None)


def _read(opened: Any, user: str) -> int | None:
    from updater import store

    return store.online_rows(opened, [user], [f"{VIEW}:{FEATURE}"])[FEATURE][0]


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(writes=WRITES, splits=st.lists(st.booleans(), min_size=6, max_size=6))
@example(writes=[(BASE, BASE), (BASE, None)], splits=[True] * 6)
@example(writes=[(BASE + timedelta(microseconds=1), None), (BASE, BASE)], splits=[False] * 6)
@example(writes=[(BASE, BASE + timedelta(microseconds=1)), (BASE, BASE)], splits=[True] * 6)
def test_the_newest_value_stays_for_any_order_of_writes(opened: Any, writes: list, splits: list[bool]) -> None:
    user = f"user {np.random.default_rng().integers(2**62)}"
    batch: list[tuple[datetime, datetime | None, int]] = []
    for number, ((event, created), split) in enumerate(zip(writes, splits, strict=False)):
        batch.append((event, created, number))
        if split:
            _write(opened, user, batch)
            batch = []
    _write(opened, user, batch)

    order = [(event, created or datetime.min.replace(tzinfo=UTC)) for event, created in writes]
    assert _read(opened, user) == max(n for n, stamps in enumerate(order) if stamps == max(order))


def test_corrections_and_old_windows_through_materialize(settings: Settings, opened: Any) -> None:
    from updater import store

    def served() -> tuple[int, str]:
        row = store.online_rows(opened, ["a"], FEATURES)
        return row["lapse_as_of"][0], row["lapse_model_version"][0]

    old = write_lapse(settings, "2024-02-28", ["a"], vectors(1, seed=1), version="old")
    new = write_lapse(settings, "2024-02-29", ["a"], vectors(1, seed=2), version="new")
    store.materialize(opened, new, [VIEW])
    store.materialize(opened, old, [VIEW])
    assert served() == (int(new.as_of.timestamp()), "new")

    restated = {"created": later(CREATED, 0.5), "name": "bucket-000-g1.parquet"}
    write_lapse(settings, "2024-02-29", ["a"], vectors(1, seed=3), version="corrected", **restated)
    assert store.materialize(opened, new, [VIEW]) == {VIEW: 1}
    assert served() == (int(new.as_of.timestamp()), "corrected")

    stale = {"created": later(CREATED, -0.5), "name": "bucket-000-g1.parquet"}
    write_lapse(settings, "2024-02-29", ["a"], vectors(1, seed=4), version="stale", **stale)
    store.materialize(opened, new, [VIEW])
    assert served() == (int(new.as_of.timestamp()), "corrected")


def test_every_order_of_three_windows_ends_the_same(settings: Settings, opened: Any) -> None:
    from updater import store

    days = ["2024-02-27", "2024-02-28", "2024-02-29"]
    for order in permutations(days):
        user = "".join(order)
        windows = {day: write_lapse(settings, day, [user], vectors(1, seed=1), version=day) for day in days}
        for day in order:
            store.materialize(opened, windows[day], [VIEW])
        assert store.online_rows(opened, [user], FEATURES)["lapse_model_version"] == [days[-1]]


def test_concurrent_writers_leave_the_newest_value(settings: Settings, opened: Any) -> None:
    from updater import store

    users = [f"user {i}" for i in range(25)]
    stamps = [(BASE + timedelta(days=d), BASE + timedelta(seconds=s)) for d in range(5) for s in range(5)]

    def write(seed: int) -> None:
        mine = store.open_store(settings)
        order = list(enumerate(stamps))
        random = Random(seed)
        random.shuffle(order)
        for number, (event, created) in order:
            random.shuffle(users_of := users.copy())
            for user in users_of[:5]:
                _write(mine, user, [(event, created, number)])
        for user in random.sample(users, len(users)):
            _write(mine, user, [(event, created, number) for number, (event, created) in order])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [_read(opened, user) for user in users] == [len(stamps) - 1] * len(users)
