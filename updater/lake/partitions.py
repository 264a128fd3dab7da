"""Atomic files below a root that is a local directory or any fsspec URL."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from updater.domain.temporary_files import temporary_name
from updater.locations import filesystem as filesystem

SUCCESS = "_SUCCESS"
VECTOR_GROUP_ROWS = 1024
"""Rows per row group of a file with vectors: one or two MiB, so that a reader of few users skips the others'."""
GROUP_ROWS = 8192
"""The same of a file without vectors."""
DAY_DIRECTORY = re.compile(r"ds=\d{4}-\d{2}-\d{2}")


def join(root: str, *names: str) -> str:
    """Path or URL of `names` below `root`."""
    return "/".join((root.rstrip("/"), *names))


def day_directory(root: str, ds: date) -> str:
    """`<root>/ds=YYYY-MM-DD`."""
    return join(root, f"ds={ds.isoformat()}")


def is_local(path: str) -> bool:
    """True if `path` is on a local disk."""
    return isinstance(filesystem(path)[0], LocalFileSystem)


def exists(path: str) -> bool:
    """True if there is a file or directory at `path`."""
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def list_files(directory: str, suffix: str = ".parquet") -> list[str]:
    """Full paths of the files of `directory` that end with `suffix`, sorted; empty if it does not exist."""
    fs, inner = filesystem(directory)
    try:
        entries = fs.ls(inner, detail=False)
    except FileNotFoundError:
        return []
    names = sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries)
    return [join(directory, name) for name in names if name.endswith(suffix) and not name.startswith((".", "_"))]


def list_names(directory: str) -> list[str]:
    """Names directly below `directory`, sorted; empty if it does not exist."""
    fs, inner = filesystem(directory)
    try:
        entries = fs.ls(inner, detail=False)
    except FileNotFoundError:
        return []
    return sorted(str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries)


def list_tree(directory: str, suffix: str = ".parquet") -> dict[str, list[str]]:
    """As `list_files`, of the directories directly below `directory` by name: one listing of an object store."""
    fs, inner = filesystem(directory)
    if isinstance(fs, LocalFileSystem):
        listed = {name: list_files(join(directory, name), suffix) for name in list_names(directory)}
        return {name: files for name, files in listed.items() if files}
    found: dict[str, list[str]] = {}
    for path in sorted(map(str, fs.find(inner))):
        below, slash, name = path.removeprefix(inner).strip("/").partition("/")
        if slash and "/" not in name and name.endswith(suffix) and not name.startswith((".", "_")):
            found.setdefault(below, []).append(join(directory, below, name))
    return found


def file_sizes(directory: str) -> dict[str, int]:
    """Bytes of all files below a directory, hidden ones too, by full path: one listing of an object store."""
    fs, inner = filesystem(directory)
    if not isinstance(fs, LocalFileSystem):
        found = fs.find(inner, detail=True)
        return {join(directory, path.removeprefix(inner).lstrip("/")): one["size"] for path, one in found.items()}
    sizes: dict[str, int] = {}
    for path in sorted(path for path in Path(inner).rglob("*") if path.is_file()):
        with suppress(FileNotFoundError):  # removed meanwhile
            sizes[join(directory, str(path.relative_to(inner)))] = path.stat().st_size
    return sizes


@contextmanager
def write_file(path: str) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` only when the block ends without an error.

    A local file is written to a temporary file, synced and renamed; for another filesystem it is staged locally and put
    whole.
    """
    fs, inner = filesystem(path)
    parent, _, name = inner.rpartition("/")
    _make_directory(fs, parent)
    if not isinstance(fs, LocalFileSystem):
        with NamedTemporaryFile() as staged:
            yield staged
            staged.flush()
            fs.put_file(staged.name, inner)
        return
    temporary = Path(parent, temporary_name(name))
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(inner)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_table(path: str, table: pa.Table, row_group_size: int | None = None) -> None:
    """Write `table` as one Parquet file, atomically."""
    with write_file(path) as file:
        write_parquet(table, file, row_group_size)


def to_parquet(table: pa.Table, row_group_size: int | None = None) -> bytes:
    """The bytes of the file that `write_table` writes."""
    buffer = BytesIO()
    write_parquet(table, buffer, row_group_size)
    return buffer.getvalue()


def write_parquet(table: pa.Table, file: IO[bytes], row_group_size: int | None) -> None:
    """Write `table` as Parquet, as all files of the state are written.

    Vectors are stored plainly: a dictionary of floats takes ten times as long to write and more room than they do, and
    zstd finds little in them (docs/adr/0016-vectors-in-parquet.md).
    """
    vectors = {field.name for field in table.schema if _is_vector(field.type)}
    pq.write_table(
        table,
        file,
        compression="lz4" if vectors else "zstd",
        use_dictionary=[name for name in table.schema.names if name not in vectors],
        row_group_size=row_group_size or (VECTOR_GROUP_ROWS if vectors else GROUP_ROWS),
    )


def _is_vector(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) and pa.types.is_floating(kind.value_type))


def read_table(path: str, columns: list[str] | None = None) -> pa.Table:
    """Read one Parquet file."""
    fs, inner = filesystem(path)
    with fs.open(inner, "rb") as file:
        return pq.read_table(file, columns=columns)


def write_partition(root: str, ds: date, table: pa.Table, name: str = "part-000.parquet") -> None:
    """Write one file of a day's partition, atomically."""
    write_table(join(day_directory(root, ds), name), table)


def mark_success(root: str, ds: date) -> None:
    """Say that a day has landed completely."""
    with write_file(join(day_directory(root, ds), SUCCESS)):
        pass


def has_landed(root: str, ds: date) -> bool:
    """True if the day's partition carries `_SUCCESS`."""
    return exists(join(day_directory(root, ds), SUCCESS))


def landed_days(root: str) -> list[date]:
    """Days below `root` that carry `_SUCCESS`, oldest first: one listing of an object store, not a request a day."""
    fs, inner = filesystem(root)
    if isinstance(fs, LocalFileSystem):
        return sorted(ds for ds in filter(None, map(_day, list_names(root))) if has_landed(root, ds))
    fs.invalidate_cache(inner)  # some object stores remember what was there before
    below = (path.rstrip("/").rsplit("/", 2)[-2:] for path in map(str, fs.find(inner)) if path.count("/"))
    return sorted({ds for day, name in below if name == SUCCESS and (ds := _day(day))})


def newest_landed_day(root: str) -> date | None:
    """The newest day below `root` that carries `_SUCCESS`; None if there is none."""
    found = sorted(filter(None, map(_day, list_names(root))), reverse=True)
    return next((ds for ds in found if has_landed(root, ds)), None)


def _make_directory(fs: fsspec.AbstractFileSystem, directory: str) -> None:
    """Make a directory and its parents, or leave what is there.

    One that another process makes and removes meanwhile looks to `os.makedirs` as if a file were in its place.
    """
    while True:
        try:
            fs.makedirs(directory, exist_ok=True)
            return
        except FileExistsError:
            # A file, a device, a link to nowhere.
            if fs.lexists(directory) and not fs.isdir(directory):
                raise


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name[3:]) if DAY_DIRECTORY.fullmatch(name) else None
    except ValueError:
        return None


def remove(path: str) -> None:
    """Remove a file or directory tree; nothing happens if it is not there."""
    fs, inner = filesystem(path)
    if fs.exists(inner):
        fs.rm(inner, recursive=True)


def remove_file(path: str) -> None:
    """Remove a file, and on a local disk its directory if that is empty then; nothing happens if it is not there."""
    fs, inner = filesystem(path)
    if not isinstance(fs, LocalFileSystem):
        fs.rm(inner)
        return
    Path(inner).unlink(missing_ok=True)
    with suppress(OSError):
        Path(inner).parent.rmdir()


def move(source: str, target: str) -> None:
    """Move a file, atomically on a local disk; `target` is replaced."""
    fs, inner = filesystem(source)
    target_inner = filesystem(target)[1]
    _make_directory(fs, target_inner.rsplit("/", 1)[0])
    if isinstance(fs, LocalFileSystem):
        Path(inner).replace(target_inner)
    else:
        fs.mv(inner, target_inner)
