"""Summaries and offline rows without some users: the ledger first names the new files, then they are written."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from hashlib import sha256

from updater.domain.bucket_file_names import BucketFile
from updater.lake import partitions
from updater.lake.erased_rows import Among
from updater.ledger import BucketRecord
from updater.pipeline.daily.publishing.bucket_commit import outputs_digest
from updater.pipeline.daily.publishing.staging import move_into_place
from updater.pipeline.erase.files import FileChanges, write
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Progress, WritableContext
from updater.state import summaries as summary_store
from updater.state.bucket_files import all_files, bucket_files
from updater.state.event_store import connect
from updater.state.layout import SUMMARIES
from updater.state.rewrite import read_without

NewFiles = dict[str, tuple[BucketFile, bytes | None]]
"""By view the file and its new bytes; None if no row is left."""


def erase_from_buckets(
    context: WritableContext, buckets: Sequence[int], among: Among, progress: Progress
) -> FileChanges:
    """Rewrite what `buckets` published, with the records and heads that name it, and correct the active users."""
    found = FileChanges()
    for done, bucket in enumerate(buckets):
        progress("erasing from buckets", done, len(buckets))
        head = context.ledger.head(bucket)
        if head is not None:
            move_into_place(context, bucket, head.ds)
        found += _rewrite_published(context, bucket, among)
        found += _rewrite_merged(context, bucket, among)
        _count_active(context, bucket)
    return found


def _views(context: WritableContext) -> dict[str, str]:
    """Root of the files by the name that a staged file has for them."""
    names = partitions.list_names(context.layout.views())
    return {name: context.layout.bucket_files(name) for name in (SUMMARIES, *names)}


def _rewrite_published(context: WritableContext, bucket: int, among: Among) -> FileChanges:
    published: dict[tuple[date, int], dict[str, BucketFile]] = defaultdict(dict)
    for view, root in _views(context).items():
        for file in all_files(root, bucket):
            if file.kind == "ds":
                published[file.first, file.generation][view] = file
    history = {(record.ds, record.generation): record for record in context.ledger.bucket_history(bucket)}
    found = FileChanges()
    for key, files in sorted(published.items()):
        made: NewFiles = {}
        for view, file in files.items():
            table, num_rows = read_without(file.path, among)
            if num_rows:
                made[view] = file, partitions.to_parquet(table) if table.num_rows else None
                found += FileChanges(num_rows)
        if made and key in history:
            _replace_record(context, history[key], made)
        for file, content in made.values():
            found += _put(file.path, content)
    return found


def _rewrite_merged(context: WritableContext, bucket: int, among: Among) -> FileChanges:
    """Files that days were merged into are found by their names, which stay, even if they become empty."""
    found = FileChanges()
    for root in _views(context).values():
        for file in all_files(root, bucket):
            if file.kind != "ds":
                table, num_rows = read_without(file.path, among)
                if num_rows:
                    found += FileChanges(num_rows) + _put(file.path, partitions.to_parquet(table))
    return found


def _put(path: str, content: bytes | None) -> FileChanges:
    with crash_point("file_without"):
        if content is None:
            partitions.remove(path)
            return FileChanges(removed=1)
        write(path, content)
        return FileChanges(rewritten=1)


def _replace_record(context: WritableContext, record: BucketRecord, made: NewFiles) -> None:
    names = []
    for name in record.files:
        view = name.partition("-")[2]
        _, content = made.get(view, (None, b""))
        if view not in made:
            names.append(name)
        elif content is not None:
            names.append(f"{sha256(content).hexdigest()}-{view}")
    # A run that was killed before it wrote the files finds them named already.
    if names != record.files:
        new = replace(record, files=names, digest=outputs_digest(names, record.generation))
        with crash_point("record_without"):
            context.ledger.replace_bucket_record(record, new)


def _count_active(context: WritableContext, bucket: int) -> None:
    """Let the newest record say how many active users are left: the next window counts on from there."""
    head = context.ledger.head(bucket)
    record = context.ledger.bucket_record(bucket, head.ds) if head else None
    if record is None:
        return
    with connect(context.settings.paths.state) as connection:
        active = len(summary_store.read_active(connection, bucket_files(context.layout.summaries(), bucket)))
    if record.counts.get("active_users") != active:
        with crash_point("active_without"):
            context.ledger.replace_bucket_record(
                record, replace(record, counts={**record.counts, "active_users": active})
            )
