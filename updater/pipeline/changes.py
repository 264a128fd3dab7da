"""Who changed in a window, as detect wrote it down: what every later step goes by."""

from collections.abc import Collection

import pyarrow as pa

from updater.domain.window import Window
from updater.errors import WindowOrderError
from updater.lake import partitions
from updater.runtime.deployment import Context

NAME = "changes.parquet"


def changes_file(context: Context, window: Window, modality: str, shard: int) -> str:
    """Where it is written down who changed in a modality and a shard."""
    return context.layout.changes_file(modality, window.ds, context.shards.file(NAME, shard))


def read_changes(context: Context, window: Window, modality: str, buckets: Collection[int] = ()) -> pa.Table:
    """Who changed in a modality, in the shards of `buckets` or in all.

    Raises:
        WindowOrderError: the window has not been detected.
    """
    paths = [changes_file(context, window, modality, shard) for shard in context.shards.of(buckets)]
    try:
        return pa.concat_tables([partitions.read_table(path) for path in paths])
    except FileNotFoundError:
        raise WindowOrderError(
            f"{window} of modality {modality!r} has not been detected; run `updater run --ds {window}`."
        ) from None
