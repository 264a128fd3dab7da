"""Files that nobody reads any more: noted in the ledger when they are first found, removed after a grace period.

Whoever listed files before they were merged reads the old ones; nobody lists them afterwards. So a window that runs at
the same time neither fails nor loses anything, as long as it takes less than the grace period.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from updater.domain.temporary_files import TEMPORARY
from updater.lake import partitions
from updater.ledger import RetiredFile
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext


def retire(
    context: WritableContext, paths: Iterable[str], sizes: Mapping[str, int], named_at: Mapping[str, datetime]
) -> tuple[list[str], dict[str, int]]:
    """Note the files at `paths`, which are all that are not read any more, and remove those whose grace period is over.

    Args:
        context: the deployment.
        paths: the files; one that is not there any more is passed over.
        sizes: bytes of the files that are there, by path.
        named_at: by directory when the ledger was last told what is read of it: a file there that was noted before may
            have been read again in between, so its grace period begins anew.

    Returns:
        Files that wait, and the bytes of each file that was removed.
    """
    known = context.ledger.retired()
    waiting: dict[str, RetiredFile] = {}
    expired: dict[str, RetiredFile] = {}
    before = context.now - timedelta(hours=context.settings.retention.grace_hours)
    for path in sorted(sizes.keys() & set(paths)):
        new = RetiredFile(path=context.layout.relative(path), since=context.now, size=sizes[path])
        old = known.get(new.path)
        if old is None or not _is_same(old, new.size, named_at.get(path.rpartition("/")[0])):
            waiting[path] = new
        # A file has to be found twice: whoever made it may be about to have it named.
        elif old.since <= before:
            expired[path] = old
        else:
            waiting[path] = old
    for path in expired:
        with crash_point("removed"):
            partitions.remove_file(path)
    with crash_point("noted"):
        context.ledger.replace_retired(waiting.values())
    return list(waiting), {path: file.size for path, file in expired.items()}


def temporary_files(context: Context, paths: Iterable[str]) -> list[str]:
    """Those of some files of the state that writers left who were killed."""
    return [path for path in paths if any(map(TEMPORARY.fullmatch, context.layout.relative(path).split("/")))]


def _is_same(noted: RetiredFile, size: int, named_at: datetime | None) -> bool:
    """Whether a file is the one that was noted, and was not read again since."""
    return noted.size == size and (named_at is None or named_at <= noted.since)
