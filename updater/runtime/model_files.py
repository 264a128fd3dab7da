"""A model's files where they can be read: a library maps them into memory, and for that they lie on a local disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from updater.domain.temporary_files import temporary_name
from updater.lake import partitions
from updater.ledger import ModelRecord
from updater.locations import is_s3
from updater.runtime.deployment import Context
from updater.state.layout import MODEL_MARK


@contextmanager
def making_model(directory: str) -> Iterator[str]:
    """Where to write the files of a model that is to be in `directory`; in a bucket they are when the block ends."""
    if not is_s3(directory):
        yield partitions.filesystem(directory)[1]
        return
    with TemporaryDirectory(prefix="updater-model-") as scratch:
        yield scratch
        put_model(scratch, directory)


def put_model(source: str | Path, directory: str) -> None:
    """Put the files of a model below `directory` in a bucket, where they are its files when the last one is there."""
    fs, inner = partitions.filesystem(directory)
    for path in sorted(Path(source).iterdir(), key=lambda path: (path.name == MODEL_MARK, path.name)):
        fs.put_file(str(path), f"{inner}/{path.name}")


def local_model(directory: str, digest: str) -> str:
    """A directory on a local disk with the files of the model in `directory`.

    Out of a bucket they are fetched once, into `$XDG_CACHE_HOME/updater/models` (by default below `~/.cache`).

    Args:
        directory: of a model version in the state.
        digest: the version's, which names the copy.
    """
    if not is_s3(directory):
        return partitions.filesystem(directory)[1]
    copy = machine_cache() / "models" / digest
    if copy.is_dir():
        return str(copy)
    fs, inner = partitions.filesystem(directory)
    copy.parent.mkdir(parents=True, exist_ok=True)
    temporary = copy.with_name(temporary_name(digest))
    temporary.mkdir()
    try:
        for path in fs.find(inner):
            (temporary / path.rsplit("/", 1)[1]).write_bytes(fs.cat_file(path))
        _move(temporary, copy)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return str(copy)


def version_directory(context: Context, record: ModelRecord) -> str:
    """`local_model` of a model version."""
    return local_model(context.layout.model(record.version), record.digest)


def machine_cache() -> Path:
    """The directory of what this machine keeps of states in buckets."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "updater")


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        # Another process was faster, with the same files.
        if not target.is_dir():
            raise
