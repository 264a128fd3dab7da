"""A light deployment of any number of users, and a lake for it that takes seconds: one modality, few distinct texts.

Everybody has an event on the first day, and a share of them, drawn anew, one on each day after it. So all users have
state from the first window on, and a window changes the share that was active.
"""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.stores import FEATURE_REPO
from updater.lake import partitions
from updater.settings import Settings, load_settings

FIRST_DAY = date(2025, 1, 1)
ACTIVE_SHARE = 0.05
CATEGORIES = np.array([f"category {number}" for number in range(40)])
CONFIG = """
[paths]
feature_repo = {repo}
[buffer]
num_buckets = {buckets}
num_shards = {shards}
[model]
backbone = "none"
[run]
processes = {processes}
"""
DECLARED = """
[[modalities]]
name = "bill"
text = "{category}"
numeric = ["amount"]
max_events = 8
[[scenarios]]
name = "lapse"
domain = "risk"
query = "Will this user stop coming in the next four weeks?"
"""
"""One modality and one scenario: light, so that many users take minutes."""


def make_settings(root: Path, buckets: int, shards: int, processes: int) -> Settings:
    """A config below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "updater.toml"
    repo = json.dumps(str(FEATURE_REPO))
    values = CONFIG.format(repo=repo, buckets=buckets, shards=shards, processes=processes)
    path.write_text(values + DECLARED, encoding="utf-8")
    return load_settings(path, environ={})


def land(lake: str, num_users: int, num_days: int) -> list[date]:
    """Land the days and return them."""
    random = np.random.default_rng(7)
    root = partitions.join(lake, "bill")
    days = [FIRST_DAY + timedelta(days=number) for number in range(num_days)]
    for number, ds in enumerate(days):
        users = np.arange(num_users)
        if number:
            users = np.sort(random.choice(users, int(num_users * ACTIVE_SHARE), replace=False))
        partitions.write_partition(root, ds, _rows(users, ds, random))
        partitions.mark_success(root, ds)
    return days


def _rows(users: np.ndarray, ds: date, random: np.random.Generator) -> pa.Table:
    seconds = random.integers(0, 86_400, len(users)).astype("timedelta64[s]")
    return pa.table(
        {
            "user_id": pa.array(np.char.mod("u%09d", users)),
            "event_id": pa.array(np.char.mod(f"{ds}-%09d", users)),
            "event_time": pa.array((np.datetime64(ds) + seconds).astype("datetime64[us]")),
            "category": pa.array(CATEGORIES[random.integers(0, len(CATEGORIES), len(users))]),
            "amount": pa.array(random.integers(1, 100, len(users)).astype(np.float64)),
        }
    )
