"""Publish, materialize, commit: complete the offline rows, load them into the online store, and close the window in
the ledger.
"""

import logging
from collections.abc import Sequence
from typing import Any

from updater.domain.window import Window
from updater.errors import ConfigError, WindowOrderError
from updater.ledger import WindowRecord
from updater.pipeline.daily.publishing.staging import discard, move_into_place
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import WritableContext
from updater.runtime.state_lock import Lock, StateLock
from updater.runtime.timing import Stopwatch

logger = logging.getLogger(__name__)


def publish(context: WritableContext, window: Window) -> dict[str, int]:
    """Complete the offline files of all buckets. Returns the bucket counts, summed.

    Raises:
        WindowOrderError: a bucket has not been refreshed for the window.
    """
    watch = Stopwatch()
    heads = context.ledger.heads()
    records = {record.bucket: record for record in context.ledger.bucket_records(window.ds)}
    total: dict[str, int] = {}
    for bucket in range(context.settings.buffer.num_buckets):
        head = heads.get(bucket)
        if head is None or head.ds < window.ds:
            raise WindowOrderError(
                f"Bucket {bucket} is at {head.ds if head else 'no window yet'}, so {window} "
                f"cannot be published; run `updater run --ds {window}`."
            )
        move_into_place(context, bucket, window.ds)
        record = records.get(bucket)
        for name, count in (record.counts if record else {}).items():
            total[name] = total.get(name, 0) + count
    logger.info(
        "published %s: %d changed users, %d prefixes, %.1f s",
        window,
        total.get("changed_users", 0),
        total.get("prefixes", 0),
        watch.seconds,
    )
    return total


def materialize(context: WritableContext, window: Window, views: Sequence[str] | None = None) -> dict[str, int]:
    """Load the window's offline rows into the online store; values there that are newer stay.

    Args:
        context: the deployment.
        window: the window.
        views: feature views; None means all that a window publishes.

    Returns:
        Rows per feature view.

    Raises:
        ConfigError: an erasure did not wait for this, so the state lies where locks do not hold.
    """
    from updater.store.access import materialize as load

    ledger = context.ledger

    # An erasure takes its users out of the files first and then out of the online store, and for that it waits until
    # nobody is on the way from the one to the other.
    watch = Stopwatch()
    lock = StateLock(context, Lock.ONLINE)
    with lock.shared():
        erased = ledger.completed_erasures()
        with crash_point("materialized"):
            num_rows = load(context.settings, window, context.feature_views() if views is None else views)
        if ledger.completed_erasures() != erased:
            cause, remedy = lock.failure
            raise ConfigError(
                f"Users were erased while {window} was loaded into the online store, so {cause}; "
                f"run `updater user erase` for them again, and {remedy}."
            )
    logger.info(
        "materialized %s: %d rows of %d feature views, %.1f s",
        window,
        sum(num_rows.values()),
        len(num_rows),
        watch.seconds,
    )
    return num_rows


def commit(context: WritableContext, window: Window, counts: dict[str, Any]) -> WindowRecord:
    """Close the window: the last write of a day."""
    watch = Stopwatch()
    with crash_point("tidied"):
        discard(context.layout.staged(window.ds))
    with crash_point("committed"):
        record = context.ledger.complete_window(window.ds, counts, context.time())
    logger.info("committed %s, %.1f s", window, watch.seconds)
    return record
