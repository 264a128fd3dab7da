"""A PostgreSQL database and a Redis database of a campaign's own, and copies of what is in them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

Hashes = dict[bytes, dict[bytes, bytes]]
LOCK_SECONDS = 24 * 3600


def postgres_url() -> str:
    """Where to make databases."""
    return os.environ.get("UPDATER_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres")


def redis_url() -> str:
    """Where to find a free database."""
    return os.environ.get("UPDATER_REDIS_URL", "redis://127.0.0.1:6379").rstrip("/")


def redis_hashes(connection_string: str) -> Hashes:
    """All that a Redis database holds; `connection_string` is Feast's, as `127.0.0.1:6379,db=3`."""
    with _client(connection_string) as client:
        return {key: client.hgetall(key) for key in client.scan_iter(count=1000)}


def _client(connection_string: str) -> Any:
    import redis

    host, _, database = connection_string.partition(",db=")
    return redis.Redis.from_url(f"redis://{host}/{database}")


class Postgres:
    """Databases with a common prefix, of which one is used and the others are copies of it."""

    def __init__(self) -> None:
        from sqlalchemy import NullPool, create_engine

        self._engine = create_engine(postgres_url(), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self._name = f"updater_chaos_{uuid4().hex[:12]}"
        self._copies: set[str] = set()

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database that is used."""
        return self._engine.url.set(database=self._name).render_as_string(hide_password=False)

    def empty(self) -> None:
        """Begin with an empty database, and without copies."""
        self.forget()
        self._make(self._name, "template0")

    def save(self, name: str) -> None:
        """Keep a copy."""
        self._make(f"{self._name}_{name}", self._name)
        self._copies.add(name)

    def restore(self, name: str) -> None:
        """Put a copy back."""
        self._make(self._name, f"{self._name}_{name}")

    def forget(self) -> None:
        """Drop all databases."""
        for name in (self._name, *(f"{self._name}_{copy}" for copy in self._copies)):
            self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._copies.clear()

    def _make(self, name: str, template: str) -> None:
        self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def _run(self, statement: str) -> None:
        from sqlalchemy import text

        with self._engine.connect() as connection:
            connection.execute(text(statement))


class Redis:
    """One numbered database, reserved in the way of the tests' fixture `redis_url`, and copies of it in memory."""

    def __init__(self, database: int) -> None:
        import redis

        url = redis.connection.parse_url(redis_url())
        self.connection_string = f"{url.get('host', '127.0.0.1')}:{url.get('port', 6379)},db={database}"
        self._copies: dict[str, Hashes] = {}

    def empty(self) -> None:
        """Begin with nothing, and without copies."""
        self._copies.clear()
        self._load({})

    def save(self, name: str) -> None:
        """Keep a copy."""
        self._copies[name] = redis_hashes(self.connection_string)

    def restore(self, name: str) -> None:
        """Put a copy back."""
        self._load(self._copies[name])

    def _load(self, hashes: Mapping[bytes, Mapping[bytes, bytes]]) -> None:
        with _client(self.connection_string) as client:
            client.flushdb()
            for key, cells in hashes.items():
                client.hset(key, mapping=dict(cells))


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Databases that are dropped in the end."""
    made = Postgres()
    try:
        yield made
    finally:
        made.forget()


@contextmanager
def redis_database() -> Iterator[Redis]:
    """A Redis database (1 to 15) that nobody uses and that holds nothing, emptied in the end."""
    import redis

    registry = redis.Redis.from_url(f"{redis_url()}/0")
    for database in range(1, 16):
        lock = f"updater-tests:lock:{database}"
        if not registry.set(lock, os.getpid(), nx=True, ex=LOCK_SECONDS):
            continue
        made = Redis(database)
        if redis_hashes(made.connection_string):
            registry.delete(lock)
            continue
        try:
            yield made
        finally:
            made.empty()
            registry.delete(lock)
        return
    raise SystemExit(f"All of the databases 1 to 15 of {redis_url()} are in use; empty one.")
