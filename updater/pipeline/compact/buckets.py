"""Summaries and offline rows: days merged per bucket, into a month or into each user's newest row."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from updater.domain.bucket_file_names import BucketFile, live
from updater.domain.compaction import BucketMerge, bucket_merges
from updater.lake import partitions
from updater.pipeline.compact.report import Part
from updater.pipeline.compact.scope import Scope
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext
from updater.state.bucket_files import all_files
from updater.state.event_store import connect
from updater.state.layout import SUMMARIES
from updater.state.merge import merge_offline, merge_summaries


def roots(context: Context) -> list[str]:
    """Directories with files of buckets: the summaries', and one per feature view."""
    views = partitions.list_names(context.layout.views())
    return [context.layout.bucket_files(name) for name in (SUMMARIES, *views)]


def plan_buckets(context: Context, scope: Scope, root: str) -> list[BucketMerge]:
    """Which files below one of `roots` are to become one."""
    # Nobody asks for an older summary: a restatement makes them from the events.
    is_summaries = root == context.layout.summaries()
    newest_before = scope.watermark + timedelta(days=1) if is_summaries else scope.full_history
    return list(_merges(scope, root, newest_before))


def count_merges(merges: Sequence[BucketMerge]) -> Part:
    """The files that merges are about."""
    return Part(merged=sum(len(merge.files) for merge in merges), made=len(merges))


def compact_buckets(context: WritableContext, root: str, merges: Sequence[BucketMerge]) -> None:
    """Merge files below one of `roots`. The name of a merged file says what was merged, so that is not read."""
    is_summaries = root == context.layout.summaries()
    with connect(context.settings.paths.state) as connection:
        for merge in merges:
            paths = [file.path for file in merge.files]
            target = partitions.join(root, *merge.target)
            with crash_point("merged_bucket"):
                if is_summaries:
                    merge_summaries(connection, paths, target)
                else:
                    merge_offline(connection, paths, merge.kind == "base", target)


def contained_files(root: str) -> list[str]:
    """Files below one of `roots` that are not read any more."""
    files: dict[int, list[BucketFile]] = defaultdict(list)
    for file in all_files(root):
        files[file.bucket].append(file)
    return [
        path
        for group in files.values()
        for path in sorted({file.path for file in group} - {file.path for file in live(group)})
    ]


def _merges(scope: Scope, root: str, newest_before: date | None) -> Iterator[BucketMerge]:
    files: dict[int, list[BucketFile]] = defaultdict(list)
    for file in all_files(root, last=scope.watermark):
        files[file.bucket].append(file)
    for bucket, group in sorted(files.items()):
        generation = scope.generations.get(bucket)
        if generation is not None:
            yield from bucket_merges(live(group), scope.watermark, newest_before, generation)
