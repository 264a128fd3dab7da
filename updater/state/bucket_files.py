"""Files of buckets below a root of days: `<root>/ds=…/bucket-NNN.parquet`, and what days were merged into."""

from collections.abc import Collection, Iterator
from datetime import date

from updater.domain.bucket_file_names import BucketFile, directory_days, live, parse
from updater.lake import partitions
from updater.locations import is_s3


def all_files(root: str, bucket: int | None = None, last: date | None = None) -> list[BucketFile]:
    """Every file of a bucket (None means of all) below `root`, merged or not, that holds nothing after day `last`."""
    found = []
    for directory, paths in _directories(root, last):
        for path in paths:
            file = parse(directory, path.rsplit("/", 1)[1], path)
            if file is not None and bucket in (None, file.bucket):
                found.append(file)
    return found


def _directories(root: str, last: date | None) -> Iterator[tuple[str, list[str]]]:
    """Directories of days below `root` that hold nothing after `last`, and their files; a bucket is listed at once."""
    listed = partitions.list_tree(root) if is_s3(root) else None
    for directory in partitions.list_names(root) if listed is None else listed:
        days = directory_days(directory)
        if days is not None and (last is None or days[2] <= last):
            below = partitions.join(root, directory)
            yield directory, partitions.list_files(below) if listed is None else listed[directory]


def bucket_files(root: str, bucket: int, last: date | None = None) -> list[str]:
    """Files to read of a bucket below `root` up to day `last` (inclusive; None means all), oldest day first."""
    return [file.path for file in live(all_files(root, bucket, last))]


def files_of_buckets(root: str, buckets: Collection[int]) -> list[str]:
    """`bucket_files` of several buckets together, with one look below `root`."""
    found: dict[int, list[BucketFile]] = {bucket: [] for bucket in buckets}
    for file in all_files(root):
        if file.bucket in found:
            found[file.bucket].append(file)
    return [file.path for files in found.values() for file in live(files)]


def files_by_bucket(root: str, last: date) -> dict[int, list[str]]:
    """`bucket_files` up to day `last` of every bucket that has any, with one look below `root`."""
    found: dict[int, list[BucketFile]] = {}
    for file in all_files(root, last=last):
        found.setdefault(file.bucket, []).append(file)
    return {bucket: [file.path for file in live(found[bucket])] for bucket in sorted(found)}


def files_of_day(root: str, bucket: int, ds: date) -> list[str]:
    """Files to read of a bucket below `root` that hold what was published for `ds`, and perhaps other days."""
    return [file.path for file in live(all_files(root, bucket)) if file.first <= ds <= file.last]
