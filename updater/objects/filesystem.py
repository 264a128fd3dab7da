"""A bucket as the readers of Parquet files know filesystems: fsspec's interface over `S3Objects`, without a cache.

What other processes put is seen at once; a directory is there as long as an object lies below it.
"""

from io import BytesIO
from typing import IO, Any

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from updater.objects.s3 import FIRST_BYTES, S3Objects, bucket_objects
from updater.objects.s3_access import SCHEME


class S3FileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Paths are `bucket/name`; objects are put whole."""

    protocol = "s3"
    cachable = False

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What lies directly below a directory. Raises FileNotFoundError without anything there."""
        bucket, name = _split(path)
        directories, files = bucket_objects(bucket).directly_below(name)
        found = [_directory(f"{bucket}/{below}") for below in directories]
        found += [_file(f"{bucket}/{below}", size) for below, size in files.items()]
        if not found:
            raise FileNotFoundError(path)
        return found if detail else [entry["name"] for entry in found]

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **options: Any
    ) -> Any:
        """All objects below a directory, or the one at `path`."""
        bucket, name = _split(path)
        objects = bucket_objects(bucket)
        sizes = objects.list(name)
        if not sizes and name and (size := objects.size(name)) is not None:
            sizes = {name: size}
        found = {f"{bucket}/{below}": _file(f"{bucket}/{below}", size) for below, size in sizes.items()}
        return found if detail else list(found)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """An object with its size, or a directory. Raises FileNotFoundError."""
        bucket, name = _split(path)
        objects = bucket_objects(bucket)
        if name and (size := objects.size(name)) is not None:
            return _file(f"{bucket}/{name}", size)
        if objects.any_below(name):
            return _directory(f"{bucket}/{name}")
        raise FileNotFoundError(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """The bytes of an object, or those from `start` to before `end`."""
        bucket, name = _split(path)
        if start is None and end is None:
            return bucket_objects(bucket).get(name)
        return bucket_objects(bucket).bytes_between(name, start or 0, self.size(path) if end is None else end)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Put an object."""
        bucket, name = _split(path)
        bucket_objects(bucket).put(name, value)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        """Put a local file as an object."""
        bucket, name = _split(rpath)
        bucket_objects(bucket).put_file(name, lpath)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copy an object within its bucket."""
        (bucket, source), (_, target) = _split(path1), _split(path2)
        bucket_objects(bucket).copy(source, target)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        """Copy an object and delete the first one: if it was copied before and deleted, FileNotFoundError."""
        bucket, source = _split(path1)
        self.cp_file(path1, path2)
        bucket_objects(bucket).delete([source])

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete an object, and with `recursive` all below a directory; nothing happens if nothing is there."""
        bucket, name = _split(path)
        objects = bucket_objects(bucket)
        objects.delete([name, *(objects.list(name) if recursive else ())])

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """A directory needs not be made."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> IO[bytes]:
        if mode != "rb":
            raise NotImplementedError("objects are put whole")
        bucket, name = _split(path)
        content, size = bucket_objects(bucket).first_bytes(name)
        if len(content) == size:
            return BytesIO(content)
        file: IO[bytes] = _LargeObject(self, path, mode, FIRST_BYTES, size=size, cache_type="readahead")
        return file


class _LargeObject(AbstractBufferedFile):  # type: ignore[misc]
    """An object of which only the wanted parts are read."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        found: bytes = self.fs.cat_file(self.path, start, min(end, self.size))
        return found


def objects_at(path: str) -> tuple[S3Objects, str]:
    """The bucket of `s3://bucket/name`, and the name."""
    bucket, name = _split(path)
    return bucket_objects(bucket), name


def _split(path: str) -> tuple[str, str]:
    bucket, _, name = path.removeprefix(SCHEME).partition("/")
    return bucket, name.strip("/")


def _directory(path: str) -> dict[str, Any]:
    return {"name": path, "size": 0, "type": "directory"}


def _file(path: str, size: int) -> dict[str, Any]:
    return {"name": path, "size": size, "type": "file"}
