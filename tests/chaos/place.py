"""Where a campaign's deployment lies: always in the same directory, because the state names absolute paths."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.chaos.buckets import Bucket, s3_bucket
from tests.chaos.script import Script
from tests.chaos.servers import Postgres, Redis, postgres, redis_database
from tests.deployment import write_config
from tests.state_objects import DATABASES

# A file system in memory, where there is one, does not wait for the disk at every fsync.
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Place:
    """A directory and perhaps servers, of which copies can be kept and put back."""

    root: Path
    services: tuple[Postgres, Redis] | None
    bucket: Bucket | None

    @property
    def config(self) -> str:
        """The config file."""
        return str(self._work / "updater.toml")

    @property
    def _servers(self) -> list[Postgres | Redis | Bucket]:
        servers: list[Postgres | Redis | Bucket] = list(self.services or ())
        return [*servers, self.bucket] if self.bucket else servers

    @property
    def _work(self) -> Path:
        return self.root / "work"

    def empty(self, script: Script) -> None:
        """Begin with nothing but the config of a script, and without copies."""
        shutil.rmtree(self.root, ignore_errors=True)
        more: dict[str, Any] = {}
        for server in self._servers:
            server.empty()
        if self.bucket:
            more = {**DATABASES, "paths": {"state": self.bucket.state}}
        if self.services:
            database, online = self.services
            more |= {
                "ledger": {"url": database.url},
                "registry": {"url": database.url},
                "online_store": {"type": "redis", "connection_string": online.connection_string},
            }
        # Two buckets, so that a run can die between them.
        retention = {"history_days": script.history_days}
        write_config(
            self._work,
            timezone=script.timezone,
            buffer={"num_buckets": 2},
            retention=retention,
            profile={"enabled": True},
            **more,
        )

    def save(self, name: str) -> None:
        """Keep a copy."""
        shutil.copytree(self._work, self.root / name)
        for server in self._servers:
            server.save(name)

    def restore(self, name: str) -> None:
        """Put a copy back."""
        shutil.rmtree(self._work)
        shutil.copytree(self.root / name, self._work)
        for server in self._servers:
            server.restore(name)


@contextmanager
def open_place(services: bool, bucket: bool) -> Iterator[Place]:
    """A place, gone in the end: with ledger and registry in PostgreSQL and online values in Redis if `services`, and
    with the state in a bucket if `bucket`.
    """
    with ExitStack() as stack:
        root = stack.enter_context(TemporaryDirectory(prefix="updater-chaos-", dir=MEMORY if MEMORY.is_dir() else None))
        servers = (stack.enter_context(postgres()), stack.enter_context(redis_database())) if services else None
        yield Place(Path(root, "place"), servers, stack.enter_context(s3_bucket()) if bucket else None)
