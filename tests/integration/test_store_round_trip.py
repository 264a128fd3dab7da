"""Offline rows reach every online store unchanged, and training reads what serving serves."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.conftest import SettingsFactory
from tests.integration.store_helpers import (
    FEATURES,
    STORES,
    VIEW,
    store_options,
    vectors,
    window,
    write_lapse,
    write_rows,
)
from updater.settings import Settings

# ibis calls a name that duckdb has renamed; both still work.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")

STRANGE_IDS = [
    "plain",
    'it\'s "quoted"',
    "a/b\\c:d=e",
    "",
    " ",
    "naïve ユーザー 🦆",
    "é" * 128,
    "x" * 256,
    "%s {} $HOME ${HOME} \n\t",
]


@pytest.fixture(params=STORES)
def settings(request: pytest.FixtureRequest, make_settings: SettingsFactory) -> Settings:
    return make_settings(online_store=store_options(request.param, request))


def test_offline_rows_arrive_bit_by_bit(settings: Settings) -> None:
    from updater import store

    embeddings = vectors(len(STRANGE_IDS), seed=1)
    embeddings[0] = [np.float32(1e-45), -0.0, np.finfo("f4").max, np.float32(1) / 3, *embeddings[0, 4:]]
    at = write_lapse(settings, "2024-02-28", STRANGE_IDS, embeddings)
    store.apply(settings)
    opened = store.open_store(settings)

    assert store.materialize(opened, at, [VIEW]) == {VIEW: len(STRANGE_IDS)}
    served = store.online_rows(opened, [*STRANGE_IDS, "nobody"], FEATURES)

    assert served["user_id"] == [*STRANGE_IDS, "nobody"]
    assert np.array(served["lapse_embedding"][:-1], "f4").tobytes() == embeddings.tobytes()
    assert served["lapse_as_of"] == [int(at.as_of.timestamp())] * len(STRANGE_IDS) + [None]
    assert served["lapse_model_version"] == ["v1"] * len(STRANGE_IDS) + [None]
    assert served["lapse_embedding"][-1] is None


def test_training_joins_what_serving_served(settings: Settings) -> None:
    from updater import store

    days = ["2024-02-28", "2024-02-29", "2024-03-01"]
    users = [f"user {i}" for i in range(20)]
    store.apply(settings)
    opened = store.open_store(settings)
    for number, day in enumerate(days):
        changed = users[number:]
        at = write_lapse(settings, day, changed, vectors(len(changed), seed=number), version=f"v{number}")
        store.materialize(opened, at, [VIEW])
        served = store.online_rows(opened, [*users, "nobody"], FEATURES)
        entities = pd.DataFrame({"user_id": [*users, "nobody"], "event_timestamp": at.as_of, "label": range(21)})

        for shuffled in (entities, entities.sample(frac=1, random_state=3)):
            joined = store.historical_rows(opened, shuffled, FEATURES)
            assert joined["label"].tolist() == shuffled["label"].tolist()
            by_user = joined.set_index("user_id").loc[served["user_id"]]
            assert by_user["lapse_model_version"].replace({np.nan: None}).tolist() == served["lapse_model_version"]
            for trained, online in zip(by_user["lapse_embedding"], served["lapse_embedding"], strict=True):
                assert trained is None if online is None else np.array_equal(trained, np.array(online, "f4"))


def test_a_feature_service_reads_all_its_views(settings: Settings) -> None:
    from updater import store

    at = write_lapse(settings, "2024-02-28", ["a", "b"], vectors(2, seed=1))
    summaries: dict[str, Any] = {
        "user_id": pa.array(["a", "b"]),
        "bill_num_events": pa.array([3, 0], pa.int64()),
        "bill_last_event_at": pa.array([1709000000, None], pa.int64()),
        "search_num_events": pa.array([0, 0], pa.int64()),
        "search_last_event_at": pa.array([None, None], pa.int64()),
        "app_num_events": pa.array([1, 0], pa.int64()),
        "app_last_event_at": pa.array([1708000000, None], pa.int64()),
        "prefix_fingerprint": pa.array(["f" * 64, "0" * 64]),
    }
    write_rows(settings, "modality_summaries", at, summaries)
    store.apply(settings)
    opened = store.open_store(settings)
    assert store.materialize(opened, at, [VIEW, "modality_summaries", "takeout_v1"]) == {
        VIEW: 2,
        "modality_summaries": 2,
        "takeout_v1": 0,
    }

    served = store.online_rows(opened, ["a", "b"], "risk_v1")
    assert served["bill_last_event_at"] == [1709000000, None]
    assert served["prefix_fingerprint"] == ["f" * 64, "0" * 64]
    assert len(served["lapse_embedding"][1]) == 16
    trained = store.historical_rows(opened, pd.DataFrame({"user_id": ["b"], "event_timestamp": [at.as_of]}), "risk_v1")
    assert trained["prefix_fingerprint"].tolist() == ["0" * 64]
    assert trained["lapse_model_version"].tolist() == ["v1"]


def test_an_empty_profile_replaces_an_embedding_by_null(settings: Settings) -> None:
    from updater import store

    store.apply(settings)
    opened = store.open_store(settings)
    first = write_lapse(settings, "2024-02-28", ["a", "b"], vectors(2, seed=1))
    second = write_lapse(settings, "2024-02-29", ["a", "b"], [None, vectors(1, seed=2)[0]])
    for at in (first, second):
        store.materialize(opened, at, [VIEW])
    served = store.online_rows(opened, ["a", "b"], FEATURES)
    assert served["lapse_embedding"][0] is None
    assert np.array_equal(np.array(served["lapse_embedding"][1], "f4"), vectors(1, seed=2)[0])
    assert served["lapse_as_of"] == [int(second.as_of.timestamp())] * 2


@pytest.mark.services
def test_pooled_connections_to_postgresql(request: pytest.FixtureRequest, make_settings: SettingsFactory) -> None:
    from updater import store

    settings = make_settings(online_store={**store_options("postgres", request), "conn_type": "pool", "max_conn": 2})
    store.apply(settings)
    opened = store.open_store(settings)
    online = opened.provider.online_store
    for number, day in enumerate(("2024-02-28", "2024-02-29")):
        at = write_lapse(settings, day, ["a"], vectors(1, seed=number), version=day)
        store.materialize(opened, at, [VIEW])
        for _ in range(3):  # more failures than connections: each must come back usable
            with pytest.raises(Exception, match="nothing"), online.connection(opened.config) as connection:
                connection.execute("SELECT * FROM nothing")
        assert store.online_rows(opened, ["a"], FEATURES)["lapse_model_version"] == [day]
    online._pool.close()


def test_only_the_windows_own_rows_are_loaded(settings: Settings) -> None:
    from updater import store

    store.apply(settings)
    opened = store.open_store(settings)
    for number, day in enumerate(["2024-02-27", "2024-02-28", "2024-02-29"]):
        write_lapse(settings, day, [day], vectors(1, seed=number))
    assert store.materialize(opened, window("2024-02-28"), [VIEW]) == {VIEW: 1}
    served = store.online_rows(opened, ["2024-02-27", "2024-02-28", "2024-02-29"], FEATURES)
    assert [value is not None for value in served["lapse_embedding"]] == [False, True, False]
