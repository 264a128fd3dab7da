"""Whether a bucket's head may move, and the words for refusing it. Pure: no database."""

from datetime import timedelta

from updater.errors import HeadConflictError, WindowOrderError
from updater.ledger.records import Head

_DAY = timedelta(days=1)


def may_follow(previous: Head | None, new: Head) -> bool:
    """True if `new` continues `previous`.

    Within a generation a head moves to the next day. A higher generation is a restatement: it may also begin at the
    same or an earlier day, but leaves no gap either. The first head of a bucket begins anywhere.
    """
    if previous is None:
        return True
    if new.generation == previous.generation:
        return new.ds == previous.ds + _DAY
    return new.generation > previous.generation and new.ds <= previous.ds + _DAY


def refusal(head: Head | None, previous: Head | None, new: Head) -> WindowOrderError:
    """Why `new`, computed from `previous`, cannot be published when the bucket is at `head`."""
    where = f"Bucket {new.bucket}"
    if head is None:
        first = previous.ds if previous else new.ds
        return WindowOrderError(
            f"{where} has published nothing, so {new.ds} does not follow; run {_backfill(first, new.ds)}."
        )
    if head.ds == new.ds:
        return HeadConflictError(
            f"{where} has published other values for {new.ds} (digest {_short(head)}, not {_short(new)}); "
            f"keep them, or replace them with {_backfill(new.ds, new.ds, ' --restate')}."
        )
    if head.ds > new.ds:
        return WindowOrderError(
            f"{where} is at {head.ds}, and {new.ds} is older; "
            f"to publish it anew run {_backfill(new.ds, head.ds, ' --restate')}."
        )
    if previous is not None and previous.ds == head.ds and may_follow(previous, new):
        return HeadConflictError(
            f"{where} has published other values for {head.ds} (digest {_short(head)}, not {_short(previous)}) "
            f"than {new.ds} was computed from; run {_backfill(new.ds, new.ds)}."
        )
    return WindowOrderError(
        f"{where} is at {head.ds}, and {new.ds} does not follow from it; run {_backfill(head.ds + _DAY, new.ds)}."
    )


def _backfill(from_date: object, to_date: object, options: str = "") -> str:
    return f"`updater backfill --from-date {from_date} --to-date {to_date}{options}`"


def _short(head: Head) -> str:
    return head.digest[:12]
