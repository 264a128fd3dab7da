"""Users per CPU-second from offline rows to the online store: this project against stock Feast.

    OMP_NUM_THREADS=1 python benchmarks/publish.py [NUM_USERS]

One feature view with embeddings of 128 floats, one window, first written into an empty store and then over itself. Both
read the same files with one thread, write batches of 10,000 rows, and count the CPU time of this process (Redis' own
is not in it). Stock Feast is its SQLite or Redis store with its local engine and DuckDB, set up as its documentation
says. Redis (UPDATER_REDIS_URL, else loopback) is left out if it does not answer.
"""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, date, datetime
from pathlib import Path
from time import process_time
from typing import Any
from urllib.parse import urlparse

import numpy as np
from feast import FeatureStore, RepoConfig

from updater.domain.window import Window, day_window
from updater.errors import ServiceUnavailableError
from updater.lake.embeddings import scenario_rows
from updater.lake.partitions import write_partition
from updater.settings import Settings, load_settings
from updater.store.config import feature_store_config
from updater.store.connecting import explained
from updater.store.definitions import defined_objects

DIM = 128
VIEW = "lapse_v1"
STOCK = {"sqlite": {"type": "sqlite"}, "redis": {"type": "redis"}}
CONFIG = f"""
[paths]
feature_repo = "{Path(__file__).resolve().parents[1] / "feature_repo"}"
[[modalities]]
name = "bill"
text = "{{text}}"
[[scenarios]]
name = "lapse"
domain = "risk"
query = "Will this user stop coming?"
"""


def measure(num_users: int) -> list[dict[str, Any]]:
    """One row per online store: users per CPU-second of ours and of stock Feast, and their ratio."""
    url = urlparse(os.environ.get("UPDATER_REDIS_URL", "redis://127.0.0.1:6379"))
    options = {"sqlite": "", "redis": f'connection_string = "{url.hostname}:{url.port}"'}
    rows = []
    for kind, option in options.items():
        with tempfile.TemporaryDirectory() as directory:
            source = Path(directory) / "updater.toml"
            source.write_text(f'{CONFIG}[online_store]\ntype = "{kind}"\n{option}\n', encoding="utf-8")
            settings = load_settings(source, environ={})
            window = _write_offline(settings, num_users)
            try:
                rows += _compare(settings, window, num_users)
            except ServiceUnavailableError as error:
                print(error, file=sys.stderr)
    return rows


def _compare(settings: Settings, window: Window, num_users: int) -> Iterator[dict[str, Any]]:
    seconds = {name: _seconds(settings, window, stock=name == "stock") for name in ("ours", "stock")}
    for number, run in enumerate(("empty store", "over itself")):
        ours, stock = (num_users / seconds[name][number] for name in ("ours", "stock"))
        yield {
            "store": settings.online_store.type,
            "run": run,
            "users": num_users,
            "ours_users_per_cpu_second": round(ours),
            "stock_users_per_cpu_second": round(stock),
            "ratio": round(ours / stock, 1),
        }


def _seconds(settings: Settings, window: Window, *, stock: bool) -> list[float]:
    """CPU seconds of the first and of the second materialisation."""
    document = feature_store_config(settings, os.environ)
    document["project"] = f"benchmark_{os.getpid()}_{'stock' if stock else 'ours'}"
    if stock:
        options = {key: value for key, value in document["online_store"].items() if key != "type"}
        document["online_store"] = {**options, **STOCK[settings.online_store.type]}
        document["batch_engine"] = {"type": "local"}
    if "path" in document["online_store"]:
        document["online_store"]["path"] += f".{document['project']}"
    config = RepoConfig(**document)
    config.repo_path = Path(settings.paths.feature_repo)
    store = FeatureStore(config=config)
    with explained(config), redirect_stdout(io.StringIO()):
        store.apply(defined_objects(settings))
        try:
            store.materialize(window.start, window.start, feature_views=[VIEW])  # loads what is loaded once
            return [_timed(store, window) for _ in range(2)]
        finally:
            view = store.get_feature_view(VIEW)
            store.provider.online_store.teardown(config, [view], [])


def _timed(store: FeatureStore, window: Window) -> float:
    start = process_time()
    store.materialize(window.as_of, window.as_of, feature_views=[VIEW])
    return process_time() - start


def _write_offline(settings: Settings, num_users: int) -> Window:
    window = day_window(date(2024, 1, 1), settings.timezone)
    root = f"{settings.paths.state}/offline/{VIEW}"
    random = np.random.default_rng(7)
    for bucket, users in enumerate(np.array_split(np.arange(num_users), 16)):
        vectors = random.standard_normal((len(users), DIM)).astype("f4")
        names = [f"user-{number:09d}" for number in users]
        created = datetime(2024, 1, 2, tzinfo=UTC)
        rows = scenario_rows(settings.scenarios[0], "v1", names, vectors, window.as_of, created)
        write_partition(root, window.ds, rows, f"bucket-{bucket:03d}.parquet")
    return window


def main() -> None:
    """Print one line per store and run."""
    num_users = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    for row in measure(num_users):
        ours, stock = row["ours_users_per_cpu_second"], row["stock_users_per_cpu_second"]
        rates = f"{ours:>7,} users per CPU-second, stock Feast {stock:>7,}"
        print(f"{row['store']:6} {row['run']:11} {row['users']:>9,} users: {rates}, {row['ratio']:.1f} times")


if __name__ == "__main__":
    main()
