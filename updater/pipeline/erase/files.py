"""Files without the rows of some users: event files, whose names the ledger has, and all that nobody names."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from io import BytesIO

import pyarrow as pa

from updater.domain.bucket_file_names import parse
from updater.domain.temporary_files import TEMPORARY
from updater.lake import partitions
from updater.lake.erased_rows import Among
from updater.lake.old_versions import old_versions
from updater.lake.schemas import EVENT_ROWS
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, WritableContext
from updater.state.layout import ERASURE, Erasure, StatePart
from updater.state.rewrite import read_without, replacing, rows_without

BUCKET = re.compile(r"(?:^|/)bucket-(\d{3,})")


@dataclass(frozen=True)
class FileChanges:
    """What was done to files."""

    rows: int = 0
    rewritten: int = 0
    removed: int = 0

    def __add__(self, other: "FileChanges") -> "FileChanges":
        return FileChanges(self.rows + other.rows, self.rewritten + other.rewritten, self.removed + other.removed)


def erase_from_events(
    context: WritableContext, buckets: Sequence[int], among: Among, progress: Progress
) -> FileChanges:
    """Put event files without the rows of the users, who are in `buckets`, in the place of those with them; the ledger
    names the new ones.
    """
    found = FileChanges()
    paths = [path for path in files_below(context, StatePart.EVENTS) if path.endswith(".parquet")]
    landed = [(path, _day(path)) for path in paths if context.shards.may_hold(_name(path), buckets)]
    for done, (path, ds) in enumerate(landed):
        progress("erasing from events", done, len(landed))
        table, num_rows = read_without(path, among) if ds else (None, 0)
        if ds is None or not num_rows:
            continue
        new = _write_events(context, path, table)
        modality = path.rsplit("/", 3)[1]
        _repoint_plan(context, modality, ds, _name(path), new)
        record = context.ledger.partition(modality, ds)
        if record is not None and (names := _renamed(context, record.events_file, _name(path), new)):
            with crash_point("partition_without"):
                context.ledger.replace_events(modality, ds, *names, num_rows)
        with crash_point("events_removed"):
            partitions.remove(path)
        found += FileChanges(num_rows, rewritten=int(new is not None), removed=int(new is None))
    return found


def erase_from_others(
    context: WritableContext, buckets: Sequence[int], among: Among, progress: Progress
) -> FileChanges:
    """Rewrite all other files of the state that hold rows of the users, who are in `buckets`, in place."""
    found = FileChanges()
    paths = [
        path for path in files_below(context) if _may_hold(context, path, buckets) and not _is_named(context, path)
    ]
    for done, path in enumerate(paths):
        progress("erasing from files", done, len(paths))
        if TEMPORARY.fullmatch(_name(path)):
            # Whoever is still writing it has read what is being erased, and is to begin again.
            with crash_point("leftover"):
                partitions.remove(path)
            found += FileChanges(removed=1)
            continue
        try:
            table, num_rows = read_without(path, among)
        except FileNotFoundError:
            continue
        if not num_rows:
            continue
        part = _part(context, path)
        # Staged files are named by their content.
        if ERASURE.get(part) is Erasure.REMOVED or not (table.num_rows or context.layout.stays_empty(path)):
            with crash_point("other_without"):
                partitions.remove(path)
            found += FileChanges(num_rows, removed=1)
        else:
            with crash_point("other_without"):
                write(path, partitions.to_parquet(table, EVENT_ROWS if part == StatePart.EVENTS else None))
            found += FileChanges(num_rows, rewritten=1)
    return found


def erase_from_versions(
    context: WritableContext, buckets: Sequence[int], among: Among, progress: Progress
) -> FileChanges:
    """Remove what the state's bucket kept of files as they were with rows of the users, who are in `buckets`.

    All of them are looked through: what a killed erasure rewrote holds no user any more, and is not rewritten again.
    """
    versions = [one for one in old_versions(context.layout.root) if _may_hold(context, one.path, buckets)]
    found = FileChanges()
    with crash_point("versions_removed"):
        for done, version in enumerate(versions):
            progress("erasing from old versions", done, len(versions))
            try:
                content = version.read()
            except FileNotFoundError:
                continue  # by a rule of the bucket
            if rows_without(BytesIO(content), str(version), among)[1]:
                version.remove()
                found += FileChanges(removed=1)
    return found


def write(path: str, content: bytes) -> None:
    """Write a file, atomically."""
    with partitions.write_file(path) as file:
        file.write(content)


def files_below(context: Context, *names: str) -> list[str]:
    """All files below a part of the state, hidden ones included, sorted."""
    root = context.layout.path(*names)
    fs, inner = partitions.filesystem(root)
    return [partitions.join(root, str(path).removeprefix(inner).lstrip("/")) for path in sorted(fs.find(inner))]


def _write_events(context: Context, path: str, table: pa.Table) -> str | None:
    """Write an event file beside `path` under the name of its content. Returns the name; None without rows, unless
    other shards have some.
    """
    if not table.num_rows and len(context.shards) == 1:
        return None
    content = partitions.to_parquet(table, EVENT_ROWS)
    name = replacing(_name(path), content)
    with crash_point("events_without"):
        write(path.rpartition("/")[0] + f"/{name}", content)
    return name


def _repoint_plan(context: WritableContext, modality: str, ds: date, old: str, new: str | None) -> None:
    """Name the new event file in the plan of a restatement that is under way."""
    if not partitions.exists(context.layout.restatement_plan()):
        return
    table = partitions.read_table(context.layout.restatement_plan())
    about = json.loads(table.schema.metadata[b"restatement"])
    for record in about["records"]:
        names = _renamed(context, record["events_file"], old, new)
        if names and (record["modality"], record["ds"]) == (modality, ds.isoformat()):
            record["events_file"] = names[1]
            with crash_point("plan_without"):
                partitions.write_table(
                    context.layout.restatement_plan(), table.replace_schema_metadata({"restatement": json.dumps(about)})
                )


def _renamed(context: Context, name: str | None, old: str, new: str | None) -> tuple[str, str | None] | None:
    """The ledger's name for a landed day, and the one in its place once the file `old` gives way to `new`; None if it
    does not stand for that file.
    """
    if name is None or not context.shards.names(name, old):
        return None
    return name, context.shards.renamed(name, new) if new else None


def _may_hold(context: Context, path: str, buckets: Sequence[int]) -> bool:
    """False for files that cannot hold rows of users in `buckets`. Below `staged` no file has a suffix."""
    part, bucket = _part(context, path), BUCKET.search(context.layout.relative(path))
    if ERASURE.get(part) is Erasure.NO_USERS or (bucket and int(bucket[1]) not in buckets):
        return False
    if part in (StatePart.EVENTS, StatePart.CHANGES) and not context.shards.may_hold(_name(path), buckets):
        return False
    unfinished = TEMPORARY.fullmatch(_name(path))
    return part == StatePart.STAGED or (unfinished["name"] if unfinished else path).endswith(".parquet")


def _is_named(context: Context, path: str) -> bool:
    """True for files that the ledger names, and that are rewritten with what it says of them."""
    part, (directory, name) = _part(context, path), path.rsplit("/", 2)[1:]
    if ERASURE.get(part) is not Erasure.REPOINTED or TEMPORARY.fullmatch(name):
        return False
    return bool(_day(path) if part == StatePart.EVENTS else parse(directory, name, path))


def _part(context: Context, path: str) -> str:
    return context.layout.part_of(path)


def _day(path: str) -> date | None:
    """The landing day of a file in a day's directory; None for any other."""
    directory = path.rsplit("/", 2)[1]
    return date.fromisoformat(directory[3:]) if partitions.DAY_DIRECTORY.fullmatch(directory) else None


def _name(path: str) -> str:
    return path.rpartition("/")[2]
