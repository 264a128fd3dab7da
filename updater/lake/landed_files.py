"""What lies in a landed day's directory: the files that are read, and whatever else does, which is refused by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import md5
from typing import Any

import fsspec

from updater.errors import DataRefusedError
from updater.lake import partitions
from updater.lake.reading import SourceDigest, first_line, opened

SUFFIX = ".parquet"
Info = dict[str, Any]


@dataclass(frozen=True)
class LandedFiles:
    """The visible entries of one day's directory; hidden ones, whose names begin with `.` or `_`, are nobody's."""

    directory: str
    files: tuple[str, ...]
    """Full paths of the Parquet files, in the order of their names."""
    others: tuple[tuple[str, str], ...]
    """Names of what cannot be read, each with what it is."""
    token: str
    """Cheap fingerprint of the entries: names, sizes and modification marks, without reading them."""

    def check(self) -> None:
        """Raise DataRefusedError if anything lies there whose rows would be left out without a word."""
        if self.others:
            name, what = self.others[0]
            raise DataRefusedError(
                f"{partitions.join(self.directory, name)} is {what}, and only files named *{SUFFIX} directly in the "
                "day's directory are read; rename, move or remove it, or begin its name with `_` if it holds no rows."
            )

    def digest(self) -> str:
        """Digest of the bytes of the files, in the order of their names."""
        digest = SourceDigest()
        for path in self.files:
            with opened(path, digest):
                pass
        for name, _ in self.others:
            digest.update(name.encode(errors="surrogateescape"))
        return digest.hexdigest()


def files_of_day(directory: str) -> LandedFiles:
    """What lies in the directory of a landed day; nothing if it does not exist. One request of an object store.

    Raises:
        DataRefusedError: the directory cannot be listed.
    """
    fs, inner = partitions.filesystem(directory)
    fs.invalidate_cache(inner)  # some object stores remember what was there before
    try:
        entries = fs.ls(inner, detail=True)
    except FileNotFoundError:
        entries = []
    except OSError as error:
        raise DataRefusedError(
            f"{directory} cannot be listed ({first_line(error)}); give this process the right to read it."
        ) from None
    return _landed_files(fs, directory, inner, entries)


def files_of_days(root: str, wanted: Iterable[date]) -> dict[date, LandedFiles]:
    """`files_of_day` of many days below a modality's root: one listing of an object store, not one a day."""
    fs, inner = partitions.filesystem(root)
    if partitions.is_local(root):
        return {ds: files_of_day(partitions.day_directory(root, ds)) for ds in wanted}
    fs.invalidate_cache(inner)
    entries: dict[str, list[Info]] = {}
    for path, info in fs.find(inner, detail=True).items():
        day = _below(path, inner).partition("/")[0]
        entries.setdefault(day, []).append(info)
    directories = {ds: partitions.day_directory(root, ds) for ds in wanted}
    return {
        ds: _landed_files(fs, directory, f"{inner.rstrip('/')}/{name}", entries.get(name, []))
        for ds, directory in directories.items()
        for name in [directory.rsplit("/", 1)[-1]]
    }


def source_etag(directory: str) -> str:
    """The `token` of a day's directory."""
    return files_of_day(directory).token


def source_digest(directory: str) -> str:
    """Digest of the bytes of a partition's files, in the order of their names."""
    return files_of_day(directory).digest()


def _landed_files(fs: fsspec.AbstractFileSystem, directory: str, inner: str, entries: Iterable[Info]) -> LandedFiles:
    files: list[str] = []
    others: dict[str, str] = {}
    marks: list[tuple[str, int, str]] = []
    for info in sorted(entries, key=lambda entry: str(entry["name"])):
        below = _below(str(info["name"]), inner)
        name = below.partition("/")[0]
        # Object stores list a directory's own marker among what it holds.
        if not name or any(part[:1] in ("", ".", "_") for part in below.split("/")):
            continue
        seen, what = _what(fs, info, nested="/" in below)
        marks.append((f"/{below}", seen["size"], _mark(seen)))
        if what is None:
            files.append(partitions.join(directory, name))
        else:
            others.setdefault(name, what)
    # Written down in ledgers: it must not depend on the version of a library.
    token = md5(str((marks,)).encode(errors="surrogateescape"), usedforsecurity=False).hexdigest()
    return LandedFiles(directory, tuple(files), tuple(others.items()), token)


def _what(fs: fsspec.AbstractFileSystem, info: Info, nested: bool) -> tuple[Info, str | None]:
    """An entry, if it is a link what that leads to; and what it is instead of a file to read."""
    if nested:
        return info, "a directory"
    if info.get("islink"):
        try:
            info = {**fs.info(info["name"]), "name": info["name"]}
        except OSError:
            return {**info, "size": 0}, "a link to nowhere"
    if info["type"] == "directory":
        return {**info, "size": 0}, "a directory"
    if info["type"] != "file":
        return info, "neither a file nor a directory"
    if not str(info["name"]).lower().endswith(SUFFIX):
        return info, "no Parquet file by its name"
    return info, None


def _below(path: str, directory: str) -> str:
    """`path` from `directory` on, whether or not one of them begins with a `/`."""
    return path.lstrip("/").removeprefix(directory.strip("/")).strip("/")


def _mark(info: Info) -> str:
    keys = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created")
    mark = next((info[key] for key in keys if key in info), "")
    # Some filesystems give an instant as a number where they list it, and as a datetime where they are asked for it.
    return str(mark.timestamp() if isinstance(mark, datetime) else mark)
