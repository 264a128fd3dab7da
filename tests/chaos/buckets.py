"""A bucket of a campaign's own on an S3 server of its own, and copies of what is in it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.s3_server import missing, s3_running
from updater.locations import is_s3
from updater.objects.filesystem import objects_at

Objects = Mapping[str, bytes]


class Bucket:
    """The objects of one bucket, and copies of them in memory.

    Args:
        name: of the bucket, which the environment reaches.
    """

    def __init__(self, name: str) -> None:
        self.state = f"s3://{name}/state"
        self._store, _ = objects_at(self.state)
        self._copies: dict[str, Objects] = {}

    def empty(self) -> None:
        """Begin with nothing, and without copies."""
        self._copies.clear()
        self._load({})

    def save(self, name: str) -> None:
        """Keep a copy."""
        self._copies[name] = {key: self._store.get(key) for key in self._store.list()}

    def restore(self, name: str) -> None:
        """Put a copy back."""
        self._load(self._copies[name])

    def _load(self, objects: Objects) -> None:
        self._store.delete(self._store.list())
        for key, content in objects.items():
            self._store.put(key, content)


@contextmanager
def s3_bucket() -> Iterator[Bucket]:
    """A bucket, and an environment for this process and those it starts that reaches it."""
    if reason := missing():
        raise SystemExit(f"There is no S3 server: {reason}.")
    with TemporaryDirectory(prefix="updater-chaos-s3-") as root, s3_running(Path(root, "server")) as server:
        os.environ.update(server.environment, XDG_CACHE_HOME=f"{root}/cache")
        yield Bucket(server.bucket())


@contextmanager
def as_directory(state: str) -> Iterator[Path]:
    """A state as a directory: the one it is in, or a copy of all objects of one in a bucket."""
    if not is_s3(state):
        yield Path(state)
        return
    store, root = objects_at(state)
    with TemporaryDirectory(prefix="updater-chaos-state-") as copy:
        for name in store.list(root):
            path = Path(copy, name.removeprefix(f"{root}/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.get(name))
        yield Path(copy)
