"""Which head may succeed which, and the error if one may not. Pure: no database."""

from datetime import date, timedelta

from updater.errors import ConcurrentUpdateError, HeadConflictError, WindowOrderError
from updater.ledger.records import Head

_DAY = timedelta(days=1)


def is_successor(previous: Head | None, new: Head) -> bool:
    """True if `new` continues `previous`.

    Within a generation a head moves to the next day. A higher generation is a restatement: it may also begin at the
    same or an earlier day, but leaves no gap either. The first head of a bucket begins anywhere.
    """
    if previous is None:
        return True
    if new.generation == previous.generation:
        return new.ds == previous.ds + _DAY
    return new.generation > previous.generation and new.ds <= previous.ds + _DAY


def conflict_error(head: Head | None, previous: Head | None, new: Head) -> WindowOrderError | ConcurrentUpdateError:
    """Why `new`, computed from `previous`, cannot be published when the bucket is at `head`.

    Where `new` continues `previous` and only the head is elsewhere by now, somebody was faster: the same command again
    finds what is published and continues from there. Everything else is a question of order.
    """
    where, follows = f"Bucket {new.bucket}", is_successor(previous, new)
    if head is None:
        first = previous.ds if previous else new.ds
        return _out_of_order(
            f"{where} has published nothing, so {new.ds} does not follow; run {_backfill(first, new.ds)}.", new, first
        )
    if head.ds == new.ds:
        return HeadConflictError(
            f"{where} has published other values for {new.ds} (digest {_short(head)}, not {_short(new)}); run the same "
            f"command again to keep them, or replace them with {_backfill(new.ds, new.ds, ' --restate')}.",
            cause="window",
            ds=new.ds,
            bucket=new.bucket,
            published=head.digest,
        )
    if head.ds > new.ds and follows:
        return ConcurrentUpdateError(
            f"{where} moved on to {head.ds} while {new.ds} was computed; run the same command again, which leaves "
            "published days as they are.",
            cause="window",
            ds=new.ds,
            bucket=new.bucket,
        )
    if head.ds > new.ds:
        return _out_of_order(
            f"{where} is at {head.ds}, and {new.ds} is older; "
            f"to republish it run {_backfill(new.ds, head.ds, ' --restate')}.",
            new,
        )
    if previous is not None and previous.ds == head.ds and follows:
        return HeadConflictError(
            f"{where} has published other values for {head.ds} (digest {_short(head)}, not {_short(previous)}) "
            f"than {new.ds} was computed from; run the same command again.",
            cause="window",
            ds=new.ds,
            bucket=new.bucket,
            published=head.digest,
        )
    first = head.ds + _DAY
    return _out_of_order(
        f"{where} is at {head.ds}, and {new.ds} does not follow from it; run {_backfill(first, new.ds)}.", new, first
    )


def _out_of_order(message: str, new: Head, resume_from: date | None = None) -> WindowOrderError:
    return WindowOrderError(message, ds=new.ds, bucket=new.bucket, resume_from=resume_from)


def _backfill(from_date: object, to_date: object, options: str = "") -> str:
    return f"`updater backfill --from-date {from_date} --to-date {to_date}{options}`"


def _short(head: Head) -> str:
    return head.digest[:12]
