"""What maintenance merges and drops, decided from names and days before anything is done.

Months are the largest unit: whatever is dropped later is dropped by month, so no merged file has to be cut.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from updater.domain.bucket_file_names import BucketFile, directory_name, file_name
from updater.domain.fingerprint import fingerprint
from updater.domain.retention import first_stream_day, month, next_month

MERGE_DAYS = 7
"""Days that wait until they are merged into their month: each merge writes the whole month again."""
MERGED = "merged"
"""Directory of merged event files; its slash distinguishes their names in the ledger from those of a day's files."""


@dataclass(frozen=True)
class BucketMerge:
    """Files of one bucket that become one."""

    kind: str
    """`span`: all rows stay; `base`: of each key the newest."""
    files: tuple[BucketFile, ...]
    generation: int
    """Newest finished generation of the bucket: everything up to it is among `files`."""

    @property
    def target(self) -> tuple[str, str]:
        """Names of the merged file's directory and of the file."""
        days = [day for file in self.files for day in (file.first, file.last)]
        inputs = sorted("/".join(file.path.rsplit("/", 2)[1:]) for file in self.files)
        name = file_name(self.files[0].bucket, self.generation, fingerprint(self.kind, inputs))
        return directory_name(self.kind, min(days), max(days)), name


def bucket_merges(
    files: Sequence[BucketFile], last: date, newest_before: date | None, generation: int
) -> list[BucketMerge]:
    """What to merge among the live files of one bucket below one root.

    Args:
        files: the files that are read.
        last: the watermark; later days are left alone.
        newest_before: of days before it only the newest row of each key is needed; None if all rows are.
        generation: of the bucket's head, when no restatement is under way.
    """
    settled = [file for file in files if file.last <= last and file.generation <= generation]
    old = [f for f in settled if f.kind == "base" or (newest_before is not None and f.last < newest_before)]
    merges = [BucketMerge("base", tuple(old), generation)] if _base_is_due(old) else []
    months: dict[date, list[BucketFile]] = defaultdict(list)
    for file in settled:
        if file not in old:
            months[month(file.first)].append(file)
    for first, group in sorted(months.items()):
        days = len({file.first for file in group if file.kind == "ds"})
        num_merged = sum(file.kind != "ds" for file in group)
        if _month_is_due(first, last, days, num_merged, len(group)):
            merges.append(BucketMerge("span", tuple(group), generation))
    return merges


def _base_is_due(files: Sequence[BucketFile]) -> bool:
    kinds = [file.kind for file in files]
    days = {file.first for file in files if file.kind == "ds"}
    return len(days) >= MERGE_DAYS or "span" in kinds or kinds.count("base") > 1


def _month_is_due(first: date, last: date, days: int, num_merged: int, num_files: int) -> bool:
    """A month in progress is merged by the week, one that has ended as soon as something is left to merge."""
    has_ended = next_month(first) <= last + timedelta(days=1)
    return days >= MERGE_DAYS or num_merged > 1 or (has_ended and days > 0 and num_files > 1)


@dataclass(frozen=True)
class EventsMerge:
    """Landed days of a modality whose rows go into one event file."""

    names: Mapping[date, str]
    """What the ledger names for each day."""
    newest_only: bool
    """Of a snapshot, which no window reads as of an older day: each user's newest row set is enough."""

    @property
    def target(self) -> str:
        """Name of the merged file for the ledger. The inputs are named by their content."""
        digest = fingerprint(self.newest_only, sorted((ds.isoformat(), name) for ds, name in self.names.items()))
        prefix = "base_" if self.newest_only else ""
        return f"{MERGED}/{prefix}{min(self.names)}_{max(self.names)}-{digest[:16]}.parquet"


@dataclass(frozen=True)
class EventsPlan:
    """What becomes of the event files of a modality."""

    merges: tuple[EventsMerge, ...]
    dropped: Mapping[date, str]
    """Landed days that no window can reach any more."""


def plan_events(names: Mapping[date, str], is_stream: bool, last: date, earliest: date | None, days: int) -> EventsPlan:
    """What to merge and to drop.

    Args:
        names: the event file that the ledger names for each landed day.
        is_stream: False for a snapshot, whose rows stay until they are replaced, however old.
        last: the watermark; later days are left alone.
        earliest: first day whose window may be computed again; None if every one may.
        days: length of the buffer.
    """
    settled = {ds: name for ds, name in sorted(names.items()) if ds <= last}
    dropped: dict[date, str] = {}
    merges = []
    if earliest is not None and is_stream:
        dropped = {ds: name for ds, name in settled.items() if ds < first_stream_day(earliest, days)}
    elif earliest is not None:
        old = {ds: name for ds, name in settled.items() if ds < earliest}
        if any(not name.startswith(f"{MERGED}/base_") for name in old.values()) or len(set(old.values())) > 1:
            merges.append(EventsMerge(old, newest_only=True))
        settled = {ds: name for ds, name in settled.items() if ds >= earliest}
    months: dict[date, dict[date, str]] = defaultdict(dict)
    for ds, name in settled.items():
        if ds not in dropped:
            months[month(ds)][ds] = name
    for first, group in months.items():
        single = sum("/" not in name for name in group.values())
        num_merged = len({name for name in group.values() if "/" in name})
        if _month_is_due(first, last, single, num_merged, single + num_merged):
            merges.append(EventsMerge(group, newest_only=False))
    return EventsPlan(tuple(merges), dropped)
