"""An object store in memory that counts what it is asked."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from updater.lake.partitions import remove


class ObjectStore(MemoryFileSystem):
    """A store of objects that counts requests: a prefix is listed at once, however deep, as S3 does it."""

    protocol = "objects"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    requests: ClassVar[Counter[str]] = Counter()

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        self.requests["list"] += 1
        return super().ls(path, detail=detail, **options)

    def info(self, path: str, **options: Any) -> Any:
        self.requests["head"] += 1
        return super().info(path, **options)

    def exists(self, path: str, **options: Any) -> bool:
        self.requests["head"] += 1
        return bool(super().exists(path, **options))

    def find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, **options: Any) -> Any:
        if maxdepth or withdirs:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, **options)
        self.requests["list"] += 1
        below = self._strip_protocol(path) + "/"
        found = {name: MemoryFileSystem.info(self, name) for name in sorted(self.store) if name.startswith(below)}
        return found if options.get("detail") else list(found)


@contextmanager
def object_store() -> Iterator[str]:
    """A root in an empty store."""
    fsspec.register_implementation("objects", ObjectStore, clobber=True)
    yield "objects://lake"
    remove("objects://lake")
