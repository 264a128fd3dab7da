"""Everybody who has an event in the buffer, bucket by bucket: no more than a bucket's ids are held at a time."""

from collections.abc import Iterator
from datetime import date

from updater.runtime.deployment import Context
from updater.state.bucket_files import files_by_bucket
from updater.state.event_store import connect
from updater.state.summaries import read_active


def active_users(context: Context, ds: date, only: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Buckets, ascending, each with its users who have an event in the buffer at the end of the window of `ds`.

    Users are sorted and go by their ids of the state; erased ones are left out. `only` names one bucket.
    """
    erased = context.ledger.erased()
    with connect(context.settings.paths.state) as connection:
        for bucket, files in files_by_bucket(context.layout.summaries(), ds).items():
            if only not in (None, bucket):
                continue
            found = read_active(connection, files)
            yield bucket, sorted(found - erased.among(found))
