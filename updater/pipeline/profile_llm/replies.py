"""What a model was asked about a bucket's users on a day, and what it replied: record and cache in one file.

A reply is found again by the digest of the request, which names model, rules, former text and facets. So a run that is
repeated asks nothing that was answered, and an erasure takes a user's requests and replies out with all other rows.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pyarrow as pa

from updater.domain.columns import JOIN_KEY
from updater.lake import partitions
from updater.profile.language_model.reply import MAX_CHARACTERS
from updater.runtime.crash_points import crash_point

ACCEPTED = "accepted"
SCHEMA = pa.schema(
    {name: pa.string() for name in (JOIN_KEY, "request", "updater", "parent", "prompt", "reply", "outcome")}
)


@dataclass(frozen=True)
class Asked:
    """One request about one user, and its reply."""

    user_id: str
    request: str
    """Digest of the whole request."""
    updater: str
    parent: str
    """Digest of the text before; empty for none."""
    prompt: str
    """What was said of the user; the rules are the same for all, and part of the updater's name."""
    reply: str
    outcome: str
    """`ACCEPTED`, or why it was rejected."""


def storable(reply: str) -> str:
    """A reply as it is kept: no longer than any that is read, and without what no file can hold."""
    return reply[: MAX_CHARACTERS + 1].encode(errors="replace").decode()


def read_replies(path: str) -> dict[tuple[str, str], Asked]:
    """What was asked before, by user and digest of the request; empty without a file."""
    if not partitions.exists(path):
        return {}
    return {(row[JOIN_KEY], row["request"]): Asked(**row) for row in partitions.read_table(path).to_pylist()}


def write_replies(path: str, asked: Mapping[tuple[str, str], Asked]) -> None:
    """Write the file anew, atomically, unless it has these rows."""
    rows = [asdict(asked[key]) for key in sorted(asked)]
    write_if_other(path, pa.Table.from_pylist(rows, schema=SCHEMA), "profile_replies")


def write_if_other(path: str, table: pa.Table, write: str) -> bool:
    """Write a file atomically, at the crash points of `write`, if there is none with these bytes. Returns whether."""
    content = partitions.to_parquet(table)
    fs, inner = partitions.filesystem(path)
    if fs.exists(inner) and fs.cat_file(inner) == content:
        return False
    with crash_point(write), partitions.write_file(path) as file:
        file.write(content)
    return True
