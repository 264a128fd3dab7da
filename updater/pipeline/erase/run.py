"""Erase: users leave the state and the online store, and never come back from the lake.

The order is the point (docs/adr/0008-erasure.md): first the ledger says that the users are erased, and from then on
nobody's work with their rows counts; then files are rewritten, the online store forgets, and the ledger closes.
Resumable: run it again with the same ids after a crash.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from updater.domain.buckets import bucket_of
from updater.domain.erasure import erasure_hash
from updater.lake.pseudonyms import known_id
from updater.pipeline.erase.buckets import erase_from_buckets
from updater.pipeline.erase.files import erase_from_events, erase_from_others, erase_from_versions
from updater.pipeline.monitor import audit
from updater.pipeline.user_ids import state_ids
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.state_lock import Lock, StateLock
from updater.runtime.timing import Stopwatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ErasureReport:
    """What an erasure took out. All zero: nothing of the users was there, or an earlier run had done it."""

    users: int
    rows: int = 0
    """Rows taken out of files."""
    files_rewritten: int = 0
    files_removed: int = 0
    """Files that held rows of these users only, or that nobody needs any more."""
    online_rows: int = 0
    """Rows taken out of the online store, as the store counts them."""
    unfinished: int = 0
    """Other users whose erasure began and did not end: run it again with their ids."""
    not_found: Sequence[str] = field(default_factory=list)
    """Ids, as they were given, of which nothing was found anywhere and that had not been erased before: typing errors,
    or users that no window has met yet. Their rows are kept out all the same.
    """


class _Among:
    """Those of some users that a file holds; remembers whom any file held."""

    def __init__(self, users: Sequence[str]) -> None:
        self._users = frozenset(users)
        self.seen: set[str] = set()

    def __call__(self, user_ids: Iterable[str]) -> set[str]:
        found = set(self._users.intersection(user_ids))
        self.seen |= found
        return found


def erase(context: WritableContext, user_ids: Sequence[str], progress: Progress = no_progress) -> ErasureReport:
    """Remove users, by their source ids, from everything but the lake, and keep their rows out from now on.

    Raises:
        ConfigError: an id is empty or no text, or none is given.
        ConcurrentUpdateError: another command changed a bucket at the same time; run the same command again.
        ServiceUnavailableError: ledger or online store do not answer.
    """
    from updater.store.online.erasing import erase_online

    watch = Stopwatch()
    users = state_ids(context, user_ids)
    with StateLock(context, Lock.REWRITING).exclusive():
        erased_before = context.ledger.erased().among(users)
        with crash_point("erasure"):
            erased = context.ledger.record_erasures(users, context.now)
        num_buckets = context.settings.buffer.num_buckets
        buckets = sorted({bucket_of(user, num_buckets) for user in users})
        among = _Among(users)
        found = erase_from_events(context, buckets, among, progress)
        found += erase_from_buckets(context, buckets, among, progress)
        found += erase_from_others(context, buckets, among, progress)
        found += erase_from_versions(context, buckets, among, progress)
        missing = _not_online(context, [user for user in users if user not in among.seen | erased_before])
        # Whoever read the users' rows before they left the files has brought them online when this lock is held.
        with StateLock(context, Lock.ONLINE).exclusive():
            with crash_point("online_without"):
                online_rows = erase_online(context.settings, users)
            hashes = [erasure_hash(erased.salt, user) for user in users]
            with crash_point("erased"):
                context.ledger.complete_erasures(hashes, audit.actor(os.environ), context.time())
        report = ErasureReport(
            users=len(users),
            rows=found.rows,
            files_rewritten=found.rewritten,
            files_removed=found.removed,
            online_rows=online_rows,
            unfinished=context.ledger.unfinished_erasures(),
            not_found=[user for user in dict.fromkeys(user_ids) if known_id(context.settings, user) in missing],
        )
    # Numbers only: a log outlives the users.
    logger.info(
        "erased %d users: %d rows, %d files rewritten, %d removed, %d rows online, %.1f s",
        report.users,
        report.rows,
        report.files_rewritten,
        report.files_removed,
        report.online_rows,
        watch.seconds,
    )
    return report


def _not_online(context: Context, users: Sequence[str]) -> set[str]:
    """Those of some users, of whom no file holds a row, whom the online store does not have either."""
    from updater.store.online.erasing import find_online

    if not users or not find_online(context.settings, users):
        return set(users)
    return {user for user in users if not find_online(context.settings, [user])}
