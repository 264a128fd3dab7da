"""Files of a bucket below a root of days, before and after days were merged, and which of them hold what others hold.

`ds=D/bucket-NNN[-gG].parquet` holds what one window published. `span=A_B/bucket-NNN[-gG]-<digest>.parquet` holds all
rows of the days A to B, `base=A_B/…` of those only the newest of each key. All of them up to generation G: what a later
restatement publishes for these days lies beside it, under a higher generation.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

KINDS = ("ds", "span", "base")
"""Kinds of directories; a later one may take the place of an earlier one."""
DIRECTORY = re.compile(r"(ds|span|base)=(\d{4}-\d{2}-\d{2})(?:_(\d{4}-\d{2}-\d{2}))?")
FILE = re.compile(r"bucket-(\d{3,})(?:-g(\d+))?(?:-([0-9a-f]{16}))?\.parquet")


@dataclass(frozen=True)
class BucketFile:
    """One file and what it holds; both days are inclusive."""

    path: str
    kind: str
    first: date
    last: date
    bucket: int
    generation: int

    def contains(self, other: "BucketFile") -> bool:
        """True if all that is needed of `other` is in this merged file too."""
        if self.kind == "ds" or self.bucket != other.bucket or self.generation < other.generation:
            return False
        if other.first < self.first or self.last < other.last:
            return False
        mine, theirs = KINDS.index(self.kind), KINDS.index(other.kind)
        is_larger = (other.first, other.last, other.generation) != (self.first, self.last, self.generation)
        return mine > theirs or (mine == theirs and is_larger)


def directory_days(name: str) -> tuple[str, date, date] | None:
    """Kind, first and last day of a directory of that name; None if it is no such directory."""
    match = DIRECTORY.fullmatch(name)
    if match is None or (match[1] == "ds") != (match[3] is None):
        return None
    try:
        first = date.fromisoformat(match[2])
        return match[1], first, date.fromisoformat(match[3]) if match[3] else first
    except ValueError:
        return None


def parse(directory: str, name: str, path: str) -> BucketFile | None:
    """The bucket file `name` in `directory` (both without parents), which lies at `path`; None if it is none."""
    days, match = directory_days(directory), FILE.fullmatch(name)
    if days is None or match is None or (days[0] == "ds") != (match[3] is None):
        return None
    return BucketFile(path, *days, bucket=int(match[1]), generation=int(match[2] or 0))


def directory_name(kind: str, first: date, last: date) -> str:
    """Name of the directory of merged files of the days from `first` to `last`."""
    return f"{kind}={first.isoformat()}_{last.isoformat()}"


def file_name(bucket: int, generation: int, digest: str = "") -> str:
    """Name of a bucket's file: a restated generation lies beside the first, a merged one carries its digest."""
    generation_mark = f"-g{generation}" if generation else ""
    return f"bucket-{bucket:03d}{generation_mark}{f'-{digest[:16]}' if digest else ''}.parquet"


def live(files: Iterable[BucketFile]) -> list[BucketFile]:
    """The files to read, oldest first: those that no merged file contains."""
    known = list(files)
    merged = [file for file in known if file.kind != "ds"]
    kept = [file for file in known if not any(other.contains(file) for other in merged)]
    return sorted(kept, key=lambda file: (file.last, file.first, file.generation, file.path))
