"""Staging: a bucket's files are written where nobody reads them, and moved into place once the ledger names them.

`<state>/staged/ds=…/bucket-NNN/<sha256>-<view>` holds what an attempt made; the ledger names the files of the attempt
that counts.
"""

from contextlib import suppress
from datetime import date
from hashlib import sha256

import pyarrow as pa

from updater.lake import partitions
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import WritableContext


def stage(context: WritableContext, ds: date, bucket: int, tables: dict[str, pa.Table]) -> list[str]:
    """Write `tables` (feature view to rows) to staging. Returns their names, which carry digests of their bytes."""
    names = []
    for view, table in sorted(tables.items()):
        content = partitions.to_parquet(table)
        name = f"{sha256(content).hexdigest()}-{view}"
        with crash_point("staged"), partitions.write_file(partitions.join(_staged(context, ds, bucket), name)) as file:
            file.write(content)
        names.append(name)
    return names


def move_into_place(context: WritableContext, bucket: int, ds: date) -> int:
    """Move the files that the ledger names for a bucket and day; files that are in place are left.

    Returns the number moved.
    """
    staged = _staged(context, ds, bucket)
    record = context.ledger.bucket_record(bucket, ds) if partitions.exists(staged) else None
    if record is None:
        return 0
    moved = 0
    for name in record.files:
        source = partitions.join(staged, name)
        if partitions.exists(source):
            with crash_point("placed"):
                moved += _move(source, _final_path(context, ds, bucket, name.partition("-")[2], record.generation))
    with crash_point("unstaged"):
        discard(staged)
    return moved


def _move(source: str, target: str) -> bool:
    """Move a file; False if another attempt at the same work has moved the same bytes."""
    while True:
        try:
            partitions.move(source, target)
            return True
        except FileNotFoundError:
            # If it is still there, the target's directory is not: maintenance removes directories that are empty.
            if not partitions.exists(source):
                return False


def discard(staged: str) -> None:
    """Remove what was staged; what another attempt is writing or removing there is left to it."""
    with suppress(OSError):
        partitions.remove(staged)


def _staged(context: WritableContext, ds: date, bucket: int) -> str:
    return context.layout.staged_bucket(ds, bucket)


def _final_path(context: WritableContext, ds: date, bucket: int, view: str, generation: int) -> str:
    return context.layout.bucket_file(view, ds, bucket, generation)
