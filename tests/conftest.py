"""Fixtures and the environment of every test: temporary Airflow, no network, one thread, no settings from outside."""

import gc
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests import s3_server as s3
from tests.browser import looking
from tests.factories import MODALITIES, SCENARIOS, toml_text
from updater.runtime import garbage  # noqa: F401  for its effect
from updater.settings import Settings, load_settings

if TYPE_CHECKING:
    from tests.identity import IdentityProvider

ROOT = Path(__file__).parents[1]
POSTGRES_URL = os.environ.get("UPDATER_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")
REDIS_URL = os.environ.get("UPDATER_REDIS_URL", "redis://127.0.0.1:6379")
REQUIRE_SERVICES = os.environ.get("UPDATER_REQUIRE_SERVICES", "") not in ("", "0")
SERVICE_FIXTURES = ("postgres_url", "redis_url")
MISSING = "missing server:"
NO_BROWSER = "missing browser:"
NO_S3 = "missing S3 server:"
NO_HOSTS = "missing hosts:"
MEMORY, MEMORY_BYTES = Path("/dev/shm"), 6 << 30


def _has_room(directory: Path) -> bool:
    if not (directory.is_dir() and os.access(directory, os.W_OK)):
        return False
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize >= MEMORY_BYTES and not found.f_flag & os.ST_NOEXEC


# Tests write to memory where there is room: a quarter of their time is waiting for a disk, and no test cuts the power.
if "TMPDIR" not in os.environ and _has_room(MEMORY):
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
AIRFLOW_HOME = tempfile.mkdtemp(prefix="updater-airflow-")

# Airflow, Hugging Face and OpenMP read their environment when they are imported, so it is set before any test module.
for _variable in [name for name in os.environ if name.startswith(("AIRFLOW", "UPDATER_"))]:
    if _variable not in ("UPDATER_POSTGRES_URL", "UPDATER_REDIS_URL", "UPDATER_REQUIRE_SERVICES"):
        del os.environ[_variable]
os.environ.update(
    AIRFLOW_HOME=AIRFLOW_HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{AIRFLOW_HOME}/airflow.db",
    FEAST_USAGE="False",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    NO_PROXY="127.0.0.1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)

# The same examples in every run, unless asked for more: HYPOTHESIS_PROFILE=thorough.
_CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]
hypothesis_settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=_CHECKS)
hypothesis_settings.register_profile(
    "thorough", deadline=None, max_examples=2_000, print_blob=True, suppress_health_check=_CHECKS
)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="Make the documentation's pictures of pages anew.")


def pytest_configure(config: pytest.Config) -> None:
    looking.KEEP_PICTURES = config.getoption("--pictures")


def pytest_unconfigure() -> None:
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if set(SERVICE_FIXTURES) & set(getattr(item, "fixturenames", ())):
            item.add_marker("services")


MANY_MODULES = 200
_known_modules = 0


def _leave_imports_alone() -> None:
    """Collections of garbage go over what modules hold no more, once many have been imported.

    Tests that look at the files of a state collect garbage before, and torch, Feast and Airflow have so many objects
    that each such look would take longer than the window it is about.
    """
    global _known_modules
    if len(sys.modules) >= _known_modules + MANY_MODULES:
        gc.collect()
        gc.freeze()
        _known_modules = len(sys.modules)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _leave_imports_alone()
    if item.get_closest_marker("browser") is not None and (reason := looking.missing()):
        if REQUIRE_SERVICES:
            pytest.fail(f"{NO_BROWSER} {reason} (UPDATER_REQUIRE_SERVICES is set)", pytrace=False)
        pytest.skip(f"{NO_BROWSER} {reason}")
    if item.get_closest_marker("services") is None:
        return
    needed = [name for name in SERVICE_FIXTURES if name in getattr(item, "fixturenames", ())] or SERVICE_FIXTURES
    for reason in filter(None, map(_unreachable, needed)):
        if REQUIRE_SERVICES:
            pytest.fail(f"{MISSING} {reason} (UPDATER_REQUIRE_SERVICES is set)", pytrace=False)
        pytest.skip(f"{MISSING} {reason}")


SKIPPED = {
    MISSING: "NOT EVERYTHING WAS TESTED: {} tests were skipped because PostgreSQL or Redis did not answer "
    "(UPDATER_POSTGRES_URL, UPDATER_REDIS_URL)",
    NO_BROWSER: "NO PAGE WAS LOOKED AT: {} tests were skipped because there is no Chromium or no playwright "
    "(Debian: apt-get install chromium)",
    NO_S3: "NO OBJECT STORE WAS TESTED: {} tests were skipped because there is no SeaweedFS or no obstore "
    "(pip install 'updater[dev]')",
    NO_HOSTS: "NOTHING RAN ON SEVERAL HOSTS: {} tests were skipped because network namespaces cannot be made "
    "(Linux, root, iproute2)",
}
"""What the summary says of tests whose reason to be skipped has these words."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for words, said in SKIPPED.items():
        if skipped := sum(words in reason for reason in reasons):
            terminalreporter.write_line(
                f"{said.format(skipped)}; UPDATER_REQUIRE_SERVICES=1 makes that a failure.", yellow=True, bold=True
            )


@cache
def _unreachable(fixture: str) -> str | None:
    """Why the server behind a fixture cannot be used; None if it can."""
    try:
        if fixture == "postgres_url":
            _postgres("SELECT 1")
        else:
            _redis(0).ping()
    except Exception as error:
        server = POSTGRES_URL if fixture == "postgres_url" else REDIS_URL
        return f"{server} does not answer ({type(error).__name__})"
    return None


def _postgres(statement: str) -> None:
    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine(
        POSTGRES_URL, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args={"connect_timeout": 5}
    )
    with engine.connect() as connection:
        connection.execute(text(statement))


def _redis(database: int) -> Any:
    import redis

    return redis.Redis.from_url(f"{REDIS_URL.rstrip('/')}/{database}", socket_connect_timeout=5, decode_responses=True)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of a fresh, empty PostgreSQL database that is dropped after the test."""
    from sqlalchemy import make_url

    name = f"updater_test_{uuid4().hex}"
    _postgres(f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield make_url(POSTGRES_URL).set(database=name).render_as_string(hide_password=False)
    _postgres(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def redis_url() -> Iterator[str]:
    """URL of an empty Redis database (1 to 15) that no other test run uses, emptied after the test.

    A database that holds somebody else's keys is left alone; database 0 only keeps track of who has which.
    """
    registry = _redis(0)
    for database in range(1, 16):
        lock, mine, client = f"updater-tests:lock:{database}", f"updater-tests:used:{database}", _redis(database)
        if not registry.set(lock, os.getpid(), nx=True, ex=900):
            continue
        if client.dbsize() and not registry.exists(mine):
            registry.delete(lock)
            continue
        registry.set(mine, 1)
        client.flushdb()
        yield f"{REDIS_URL.rstrip('/')}/{database}"
        client.flushdb()
        registry.delete(mine, lock)
        return
    pytest.fail(f"all of the databases 1 to 15 of {REDIS_URL} are in use; empty one.", pytrace=False)


@pytest.fixture(scope="module")
def provider() -> "Iterator[IdentityProvider]":
    """An identity provider on loopback, whose tokens a state with its `[auth]` takes."""
    from tests.identity import IdentityProvider

    made = IdentityProvider()
    yield made
    made.close()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3Server]:
    """An S3 server for all tests of this process; a test takes a bucket of its own."""
    if reason := s3.missing():
        if REQUIRE_SERVICES:
            pytest.fail(f"{NO_S3} {reason} (UPDATER_REQUIRE_SERVICES is set)", pytrace=False)
        pytest.skip(f"{NO_S3} {reason}")
    with s3.s3_running(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: s3.S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and an environment that reaches it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.bucket()


@pytest.fixture(scope="session")
def airflow_db() -> Path:
    """Airflow's tables, in the SQLite file of the test session. Returns a copy without a row, for `airflow_home_at`."""
    from airflow.utils.db import initdb

    initdb()
    made, empty = Path(AIRFLOW_HOME, "airflow.db"), Path(AIRFLOW_HOME, "empty.db")
    with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(empty)) as target:
        source.backup(target)
    return empty


def airflow_home_at(directory: Path, airflow_db: Path) -> Path:
    """A home of another Airflow, as `airflow db migrate` makes it in three CPU seconds."""
    directory.mkdir(exist_ok=True)
    shutil.copyfile(airflow_db, directory / "airflow.db")
    return directory


SettingsFactory = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path) -> SettingsFactory:
    """Factory of embedded settings below `tmp_path`, read from a real file (`settings.source`).

    `make_settings("other", buffer={"days": 3}, timezone="Asia/Tokyo")` writes `<tmp_path>/other/updater.toml`;
    a table is merged into the default one, `modalities` and `scenarios` replace it.
    """

    def make(directory: str = ".", **overrides: Any) -> Settings:
        config: dict[str, Any] = {
            "paths": {"lake": "lake", "state": "state", "feature_repo": str(ROOT / "feature_repo")},
            "ledger": {"url": "sqlite:///state/ledger.db"},
            "registry": {"url": "sqlite:///state/registry.db"},
            "buffer": {"days": 10, "num_buckets": 4},
            "model": {"text_encoder": "minilm", "backbone": "tiny", "embedding_dim": 16, "seed": 7},
            "run": {"processes": 1},
            "modalities": MODALITIES,
            "scenarios": SCENARIOS,
        }
        for name, value in overrides.items():
            config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
        source = tmp_path / directory / "updater.toml"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(toml_text(config), encoding="utf-8")
        return load_settings(source, environ={})

    return make
