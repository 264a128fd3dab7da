"""Shards: runs of neighbouring buckets, whose rows lie in event files and changes files of their own.

The ledger has one name for what landed on a day. With one shard that is the file's name. With more, each shard's file
has it after its own number, and a shard whose file was rewritten without erased users is listed behind the name, with
the mark of its new content: `<digest>-<declaration>.parquet+7=<mark>`. So a day is one row of the ledger, however many
shards there are, and an erasure rewrites the file of one shard.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

FILE = re.compile(r"shard-(\d{3,})-(.*)")
SUFFIX = ".parquet"


@dataclass(frozen=True)
class Shards:
    """The shards of a state."""

    num_buckets: int
    num_shards: int
    """Divides the number of buckets."""

    def __len__(self) -> int:
        return self.num_shards

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.num_shards))

    def buckets(self, shard: int) -> range:
        """The buckets of a shard."""
        size = self.num_buckets // self.num_shards
        return range(shard * size, (shard + 1) * size)

    def shard(self, bucket: int) -> int:
        """The shard of a bucket."""
        return bucket // (self.num_buckets // self.num_shards)

    def of(self, buckets: Collection[int]) -> list[int]:
        """The shards of some buckets, in order; all shards without any."""
        return sorted({self.shard(bucket) for bucket in buckets}) if buckets else list(self)

    def file(self, name: str, shard: int) -> str:
        """The file of a shard, by the name `name` that the ledger has for all of them, or that one shard would have."""
        if self.num_shards == 1:
            return name
        directory, slash, last = name.rpartition("/")
        stem, *marks = last.split("+")
        for mark in marks:
            number, _, content = mark.partition("=")
            if int(number) == shard:
                stem = _marked(stem, content)
        return f"{directory}{slash}shard-{shard:03d}-{stem}"

    def names(self, name: str, file: str) -> bool:
        """True if `file` is one of the files that the ledger's name `name` stands for."""
        match = FILE.fullmatch(file)
        return file == (self.file(name, int(match[1])) if match else name)

    def renamed(self, name: str, new: str) -> str:
        """What the ledger's name `name` becomes when `new` takes the place of a file that it stands for."""
        match = FILE.fullmatch(new)
        if match is None:
            return new
        stem, *marks = name.split("+")
        shard, content = int(match[1]), match[2].removesuffix(SUFFIX).rpartition("-")[2]
        others = [mark for mark in marks if mark.partition("=")[0] != str(shard)]
        return "+".join([stem, *others, f"{shard}={content}"])

    def may_hold(self, file: str, buckets: Collection[int]) -> bool:
        """False for the file of a shard that has none of `buckets`."""
        match = FILE.fullmatch(file)
        return match is None or int(match[1]) in self.of(buckets)


def parts_of(file: str) -> tuple[str, str, str]:
    """What the name of an event file begins with if it is a shard's, and the digests of the partition and of the
    declaration that it was made from.
    """
    match = FILE.fullmatch(file)
    name = match[2] if match else file
    source, declaration = name.removesuffix(SUFFIX).split("-")[:2]
    return file.removesuffix(name), source, declaration


def _marked(stem: str, content: str) -> str:
    _, source, declaration = parts_of(stem)
    return f"{source}-{declaration}-{content}{SUFFIX}"
