"""This project's feature store and stock Feast's over the same offline rows."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlparse

import numpy as np
from feast import FeatureStore, RepoConfig

from benchmarks.row import Row, failed
from updater.domain import columns
from updater.domain.window import Window, day_window
from updater.errors import ServiceUnavailableError
from updater.lake.partitions import write_partition
from updater.settings import Settings, load_settings
from updater.state.embeddings import scenario_rows, summary_rows
from updater.state.summaries import Summaries
from updater.store.definitions import defined_objects
from updater.store.repository.config import feature_store_config
from updater.store.repository.connecting import explained

DIM = 128
STORES = ("sqlite", "redis")
SERVERS = {
    "redis": ("UPDATER_REDIS_URL", "redis://127.0.0.1:6379"),
    "postgres": ("UPDATER_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
}
"""Variables that name a server, and where it is without them."""
NUM_FILES = 16
SCENARIOS = {"lapse": "risk", "spend_drop": "risk", "delinquency": "risk"}
SERVICE = "risk_v1"
MODALITIES = ("bill", "search", "app")
FEATURE_REPO = Path(__file__).resolve().parents[1] / "feature_repo"


def make_settings(root: Path, kind: str) -> Settings:
    """A config with its state below `root` and that kind of online store.

    Redis is UPDATER_REDIS_URL, PostgreSQL the database of UPDATER_POSTGRES_URL; both else on loopback.
    """
    variable, default = SERVERS.get(kind, ("", ""))
    url = urlparse(os.environ.get(variable, default))
    lines = [f'[paths]\nfeature_repo = "{FEATURE_REPO}"', f'[online_store]\ntype = "{kind}"']
    if kind == "redis":
        lines.append(f'connection_string = "{url.hostname}:{url.port or 6379}"')
    if kind == "postgres":
        lines += [f'host = "{url.hostname}"', f"port = {url.port or 5432}", f'database = "{url.path.strip("/")}"']
        lines += [f'user = "{url.username}"', f'password = "{url.password or ""}"', 'sslmode = "prefer"']
    lines += [f'[[modalities]]\nname = "{name}"\ntext = "{{text}}"' for name in MODALITIES]
    lines += [f'[[scenarios]]\nname = "{n}"\ndomain = "{d}"\nquery = "Will this be?"' for n, d in SCENARIOS.items()]
    source = root / "updater.toml"
    source.write_text("\n".join(lines), encoding="utf-8")
    return load_settings(source, environ={})


def in_each_store(kinds: Sequence[str], compare: Callable[[Settings], Iterator[Row]], what: str) -> Iterator[Row]:
    """The rows of `compare` for each kind of online store, or one that says why there are none.

    Args:
        kinds: of online stores.
        compare: makes rows with settings whose state is thrown away afterwards.
        what: is done in a store, such as `online read from`.
    """
    for kind in kinds:
        with TemporaryDirectory(prefix="updater-bench-") as root:
            settings = make_settings(Path(root), kind)
            try:
                yield from compare(settings)
            except ServiceUnavailableError as error:
                yield failed(f"{what} {kind}", str(error))


def user_id(number: int) -> str:
    """The id of a user of `write_offline`."""
    return f"user-{number:09d}"


def write_offline(settings: Settings, num_users: int) -> Window:
    """Rows of one window in every feature view."""
    window = day_window(date(2024, 1, 1), settings.timezone)
    random = np.random.default_rng(7)
    created = datetime(2024, 1, 2, tzinfo=UTC)
    for bucket, users in enumerate(np.array_split(np.arange(num_users), NUM_FILES)):
        names = [user_id(number) for number in users]
        made = {}
        for scenario in settings.scenarios:
            vectors = random.standard_normal((len(users), DIM)).astype("f4")
            made[columns.scenario_view(scenario.name, 1)] = scenario_rows(
                scenario, "v1", names, vectors, window.as_of, created
            )
        summaries = Summaries.empty(len(users), 1)
        summaries.num_events_B[:] = random.integers(1, 100, len(users))
        summaries.last_event_B[:] = 1.7e9
        made[columns.SUMMARIES_VIEW] = summary_rows(
            names, dict.fromkeys(MODALITIES, summaries), ["0" * 64] * len(users), window.as_of, created
        )
        for view, rows in made.items():
            root = f"{settings.paths.state}/offline/{view}"
            write_partition(root, window.ds, rows, f"bucket-{bucket:03d}.parquet")
    return window


@contextmanager
def opened(settings: Settings, *, stock: bool) -> Iterator[FeatureStore]:
    """A feature store in a project of its own, whose online rows are removed at the end.

    Stock Feast is its SQLite or Redis store with its local engine, set up as its documentation says.

    Raises:
        ServiceUnavailableError: the online store does not answer.
    """
    document = feature_store_config(settings, os.environ)
    document["project"] = f"benchmark_{os.getpid()}_{'stock' if stock else settings.online_store.embeddings}"
    if stock:
        options = {key: value for key, value in document["online_store"].items() if key != "type"}
        document["online_store"] = {**options, "type": settings.online_store.type}
        document["batch_engine"] = {"type": "local"}
    if settings.online_store.type == "sqlite":
        document["online_store"]["path"] = str(settings.source.parent / f"{document['project']}.db")
    config = RepoConfig(**document)
    config.repo_path = Path(settings.paths.feature_repo)
    store = FeatureStore(config=config)
    with explained(config):
        with redirect_stdout(io.StringIO()):
            store.apply(defined_objects(settings))
        try:
            yield store
        finally:
            store.provider.online_store.teardown(config, store.list_feature_views(), [])
