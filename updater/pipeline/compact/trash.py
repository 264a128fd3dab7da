"""Files that nobody reads any more: noted when they are first found, removed after a grace period.

Whoever listed files before they were merged reads the old ones; nobody lists them afterwards. So a window that runs at
the same time neither fails nor loses anything, as long as it takes less than the grace period.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from updater.domain.temporary_files import TEMPORARY
from updater.lake import partitions
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext


@dataclass(frozen=True)
class Note:
    """A file that is not read any more."""

    since: str
    """When it was first found, by the clock of that maintenance (ISO 8601, UTC)."""
    size: int
    modified_ns: int
    """With the size: a file of that name that was written since is another one, and its grace period restarts."""


def retire(context: WritableContext, paths: Iterable[str]) -> tuple[list[str], dict[str, int]]:
    """Note the files at `paths`, which are all that are not read any more, and remove those whose grace period is over.

    Returns:
        Files that wait, and the bytes of each file that was removed.
    """
    known, notes = _load(context), {}
    expired: dict[str, int] = {}
    before = context.now - timedelta(hours=context.settings.retention.grace_hours)
    for path in sorted(paths):
        note = _note(context, path, known.get(_relative(context, path)))
        if note is None:
            continue
        # A file has to be found twice: whoever made it may be about to have it named.
        if _relative(context, path) in known and datetime.fromisoformat(note.since) <= before:
            expired[path] = note.size
        else:
            notes[_relative(context, path)] = note
    for path in expired:
        with crash_point("removed"), suppress(FileNotFoundError):
            partitions.remove(path)
        _remove_empty(path.rpartition("/")[0])
    with crash_point("noted"), partitions.write_file(_notes_file(context)) as file:
        file.write(json.dumps({path: asdict(note) for path, note in notes.items()}, indent=1).encode())
    return [context.layout.path(path) for path in notes], expired


def temporary_files(context: Context, part: str) -> list[str]:
    """What writers that were killed left below a part of the state."""
    fs, inner = partitions.filesystem(context.layout.path(part))
    found = (str(path).removeprefix(inner).lstrip("/") for path in fs.find(inner))
    names = (path for path in sorted(found) if any(map(TEMPORARY.fullmatch, path.split("/"))))
    return [context.layout.path(part, name) for name in names]


def _note(context: Context, path: str, known: Note | None) -> Note | None:
    try:
        info = Path(partitions.filesystem(path)[1]).stat()
    except FileNotFoundError:
        return None
    if known is not None and (known.size, known.modified_ns) == (info.st_size, info.st_mtime_ns):
        return known
    return Note(context.now.isoformat(), info.st_size, info.st_mtime_ns)


def _remove_empty(directory: str) -> None:
    with suppress(OSError):
        Path(partitions.filesystem(directory)[1]).rmdir()


def _load(context: Context) -> Mapping[str, Note]:
    path = Path(partitions.filesystem(_notes_file(context))[1])
    try:
        return {name: Note(**note) for name, note in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}


def _relative(context: Context, path: str) -> str:
    return context.layout.relative(path)


def _notes_file(context: Context) -> str:
    return context.layout.retired()
