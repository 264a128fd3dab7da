"""A feature store over small offline files, for the tests of `updater.store`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import make_url

from updater.domain import columns
from updater.domain.window import Window, day_window
from updater.settings import Settings

DIM = 16
VIEW = "lapse_v1"
FEATURES = [f"{VIEW}:lapse_{name}" for name in ("embedding", "as_of", "computed_at", "model_version")]
STORES = ["sqlite", *(pytest.param(kind, marks=pytest.mark.services) for kind in ("redis", "postgres"))]
CREATED = datetime(2024, 3, 1, tzinfo=UTC)


def store_options(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The `[online_store]` table for an empty store of a kind."""
    if kind == "redis":
        url = urlparse(request.getfixturevalue("redis_url"))
        return {"type": kind, "connection_string": f"{url.hostname}:{url.port},db={url.path.strip('/')}"}
    if kind == "postgres":
        url = make_url(request.getfixturevalue("postgres_url"))
        return {
            "type": kind,
            "host": url.host,
            "port": url.port,
            "database": url.database,
            "user": url.username,
            "password": url.password or "",
            "sslmode": "disable",
        }
    return {"type": kind}


def window(day: str, timezone: str = "UTC") -> Window:
    return day_window(date.fromisoformat(day), timezone)


def vectors(num_users: int, seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((num_users, DIM)).astype("f4")


def write_lapse(
    settings: Settings,
    day: str,
    users: Sequence[str],
    embeddings: Sequence[Any],
    *,
    created: datetime = CREATED,
    name: str = "bucket-000.parquet",
    version: str = "v1",
) -> Window:
    """Write offline rows of `lapse_v1` for one day; returns the day's window."""
    at = window(day, settings.timezone)
    num_users = len(users)
    rows = {
        "user_id": pa.array(users, pa.string()),
        "lapse_embedding": pa.array([None if e is None else list(e) for e in embeddings], pa.list_(pa.float32())),
        "lapse_as_of": pa.array([int(at.as_of.timestamp())] * num_users, pa.int64()),
        "lapse_computed_at": pa.array([int(created.timestamp())] * num_users, pa.int64()),
        "lapse_model_version": pa.array([version] * num_users, pa.string()),
    }
    write_rows(settings, VIEW, at, rows, created=created, name=name)
    return at


def write_rows(
    settings: Settings,
    view: str,
    at: Window,
    rows: Mapping[str, pa.Array],
    *,
    created: datetime = CREATED,
    name: str = "bucket-000.parquet",
) -> None:
    """Write one offline file in the layout that Feast reads: naive UTC timestamps, `<view>/ds=…/<name>`."""
    num_rows = len(rows[columns.JOIN_KEY])
    stamps = {
        column: pa.array([instant.replace(tzinfo=None)] * num_rows, pa.timestamp("us"))
        for column, instant in (("event_timestamp", at.as_of), ("created_timestamp", created))
    }
    directory = Path(settings.paths.state) / "offline" / view / f"ds={at.ds}"
    directory.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**rows, **stamps}), directory / name)


def later(instant: datetime, seconds: float) -> datetime:
    return instant + timedelta(seconds=seconds)
