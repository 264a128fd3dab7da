"""Reading all views of a request at once gives what reading one view after the other gives, here and in stock Feast."""

import os
import sqlite3
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from time import tzset
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest

from tests.conftest import SettingsFactory
from tests.integration.store_helpers import STORES, VIEW, store_options, vectors, write_lapse, write_rows
from updater.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:On demand feature view is an experimental:RuntimeWarning")

USERS = ["d", "nobody", "a", "b", "d", "c", "somebody"]
"""Some twice, some unknown, and `c` in one view only."""
SUMMARIES = "modality_summaries"


@pytest.fixture(params=STORES)
def settings(request: pytest.FixtureRequest, make_settings: SettingsFactory) -> Settings:
    return make_settings(online_store=store_options(request.param, request))


@pytest.fixture
def opened(settings: Settings) -> Any:
    """A store with users in two windows, and views of other entities, of none, under other names and on demand."""
    import pandas as pd
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Float64, Int64, String

    from updater import store

    store.apply(settings)
    opened = store.open_store(settings)
    for day, users in (("2024-02-28", ["a", "b", "d"]), ("2024-02-29", ["b", "c"])):
        at = write_lapse(settings, day, users, [None, *vectors(len(users) - 1, seed=1)], version=day)
        summaries: dict[str, Any] = {
            "user_id": pa.array(users[:2]),
            **{f"{name}_num_events": pa.array([3, 0], pa.int64()) for name in ("bill", "search", "app")},
            **{f"{name}_last_event_at": pa.array([1709000000, None], pa.int64()) for name in ("bill", "search", "app")},
            "prefix_fingerprint": pa.array(["f" * 64, "0" * 64]),
        }
        if day == "2024-02-28":
            write_rows(settings, SUMMARIES, at, summaries)
        store.materialize(opened, at, [VIEW, SUMMARIES])

    lapse = opened.get_feature_view(VIEW)
    shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)
    stamps = pd.to_datetime(["2024-03-01T10:11:12.123457Z", "2024-03-02T00:00:00.000000Z"])
    keys: dict[str, dict[str, list[str]]] = {
        "visits": {"user_id": ["a", "b"], "shop_id": ["x", "y"]},
        "shops": {"shop_id": ["x", "y"]},
        "world": {},
    }
    views = [
        FeatureView(
            name=name,
            entities=entities,
            schema=[*(Field(name=key, dtype=String) for key in keys[name]), Field(name=f"{name}_total", dtype=Int64)],
            source=FileSource(name=f"{name}_source", path="nowhere.parquet", timestamp_field="at"),
        )
        for name, entities in (("visits", [opened.get_entity("user"), shop]), ("shops", [shop]), ("world", []))
    ]

    @on_demand_feature_view(sources=[lapse[["lapse_as_of"]]], schema=[Field(name="age", dtype=Float64)], mode="python")
    def since(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"age": [None if as_of is None else 2e9 - as_of for as_of in inputs["lapse_as_of"]]}

    # Feast compares a service's views by their other names, so each has one.
    own = lapse[["lapse_as_of", "lapse_embedding"]].with_name("own")
    friend = lapse.with_name("friend").with_join_key_map({"user_id": "friend_id"})
    friends = FeatureService(name="friends", features=[own, friend, views[0].with_name("met")])
    opened.apply([shop, *views, since, friends])
    for name, columns in keys.items():
        rows = pd.DataFrame({**columns, f"{name}_total": [1, 2], "at": stamps})
        opened.write_to_online_store(name, rows if columns else rows[:1])
    return opened


@pytest.fixture
def utc() -> Iterator[None]:
    """The timezone of the process, which the stock SQLite store takes for that of the stored timestamps."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TZ", "UTC")
        tzset()
        yield
    tzset()


def _requests(opened: Any) -> list[tuple[Any, Any, dict[str, bool]]]:
    """Features, entities and options."""
    users = [{"user_id": user} for user in USERS]
    pairs = [{**row, "shop_id": shop} for row, shop in zip(users, "xyxyxzz", strict=True)]
    couples = [{**row, "friend_id": friend} for row, friend in zip(pairs, USERS[::-1], strict=True)]
    risk, friends = opened.get_feature_service("risk_v1"), opened.get_feature_service("friends")
    some = [f"{SUMMARIES}:app_num_events", f"{VIEW}:lapse_model_version", f"{SUMMARIES}:prefix_fingerprint"]
    mixed = [*some, "shops:shops_total", "world:world_total", "visits:visits_total"]
    return [
        (risk, users, {}),
        (risk, users[:1], {}),
        (risk, users[1:2], {"full_feature_names": True}),
        (risk, users, {"include_feature_view_version_metadata": True}),
        (some, users, {}),
        (some, {"user_id": USERS}, {"full_feature_names": True}),
        ([f"{VIEW}:lapse_embedding"], users, {}),
        (mixed, pairs, {}),
        (friends, couples, {"full_feature_names": True}),
        ([f"{VIEW}:lapse_model_version", "since:age"], users, {}),
        (["world:world_total"], users, {}),
    ]


def test_all_views_at_once_or_one_by_one(opened: Any) -> None:
    from feast.infra.online_stores.online_store import OnlineStore

    from updater.store.feast_internals import ReadsViews

    def read() -> list[Any]:
        return [opened.get_online_features(what, rows, **options).proto for what, rows, options in _requests(opened)]

    online = opened.provider.online_store
    with patch.object(online, "read_cells", wraps=online.read_cells) as queries:
        at_once = read()
        _, _, views = queries.call_args_list[0].args
    assert [view.name for view, _ in views] == [VIEW, SUMMARIES]
    with patch.object(ReadsViews, "_read_features_per_fv", OnlineStore._read_features_per_fv):
        assert read() == at_once


@pytest.mark.usefixtures("utc")
def test_stock_feast_reads_the_same(settings: Settings, opened: Any) -> None:
    """Stock Feast's stores, opened on our rows."""
    from feast import FeatureStore, RepoConfig
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

    from updater.store.repository.config import feature_store_config

    kind = settings.online_store.type
    document = feature_store_config(settings, os.environ)
    document["online_store"] = {**document["online_store"], "type": kind}
    config = RepoConfig(**document)
    config.repo_path = Path(settings.paths.feature_repo)
    stock = FeatureStore(config=config)
    for what, rows, options in _requests(opened):
        expected = stock.get_online_features(what, rows, **options)
        if kind == "redis":
            # The stock store calls an unknown entity present, without a value or a timestamp. (`age` is not stored.)
            stored = [name != "age" for name in expected.proto.metadata.feature_names.val]
            for vector in compress(expected.proto.results, stored):
                for row, stamp in enumerate(vector.event_timestamps):
                    if not stamp.ByteSize() and not vector.values[row].ByteSize():
                        vector.statuses[row] = FieldStatus.NOT_FOUND
        response = opened.get_online_features(what, rows, **options)
        assert response.proto == expected.proto
        assert list(response.to_dict()) == list(expected.to_dict())
    assert {type(stock.provider.online_store).__module__.split(".")[0]} == {"feast"}


@pytest.mark.slow
def test_very_many_users_in_one_read(settings: Settings) -> None:
    """More than a statement of the least SQLite takes, and than a store is asked for at a time."""
    from updater import store

    users = [f"u{number}" for number in range(30_000)]
    stored = users[::3_000]
    store.apply(settings)
    opened = store.open_store(settings)
    store.materialize(opened, write_lapse(settings, "2024-02-28", stored, vectors(len(stored), seed=1)), [VIEW])
    wanted = [f"{VIEW}:lapse_embedding", f"{VIEW}:lapse_model_version", f"{SUMMARIES}:app_num_events"]
    if settings.online_store.type == "sqlite":
        connection = opened.provider.online_store.connection(opened.config)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)  # the least that a build of SQLite has
    at_once = opened.get_online_features(wanted, {"user_id": users}).to_dict(include_event_timestamps=True)
    parts: dict[str, list[Any]] = {}
    for start in range(0, len(users), 3_500):
        part = opened.get_online_features(wanted, {"user_id": users[start : start + 3_500]})
        for name, values in part.to_dict(include_event_timestamps=True).items():
            parts.setdefault(name, []).extend(values)
    assert at_once == parts
    assert [user for user, version in zip(users, at_once["lapse_model_version"], strict=True) if version] == stored
