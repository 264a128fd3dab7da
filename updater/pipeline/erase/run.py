"""Erase: users leave the state and the online store, and never come back from the lake.

The order is the point (docs/adr/0008-erasure.md): first the ledger says that the users are erased, and from then on
nobody's work with their rows counts; then files are written anew, the online store forgets, and the ledger closes.
Killed anywhere and run again with the same ids, it goes on.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from updater.domain.buckets import bucket_of
from updater.domain.erasure import erasure_hash
from updater.errors import ConfigError
from updater.lake.pseudonyms import known_id
from updater.pipeline.erase.buckets import erase_from_buckets
from updater.pipeline.erase.files import FileChanges, erase_from_events, erase_from_others
from updater.pipeline.monitor import audit
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.state_lock import StateLock
from updater.runtime.timing import Stopwatch

logger = logging.getLogger(__name__)


@dataclass
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
    not_found: list[str] = field(default_factory=list)
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


def erase(context: Context, user_ids: Sequence[str], progress: Progress = no_progress) -> ErasureReport:
    """Remove users, by the ids that the lake has, from everything but the lake, and keep their rows out from now on.

    Raises:
        ConfigError: an id is empty or no text, or none is given.
        ConcurrentUpdateError: another command changed a bucket at the same time; the same command again goes on.
        ServiceUnavailableError: ledger or online store do not answer.
    """
    from updater.store.erasing import erase_online

    watch = Stopwatch()
    users = state_ids(context, user_ids)
    with StateLock(context.layout.rewriting_lock()).exclusive():
        erased_before = context.ledger.erased().among(users)
        with crash_point("erasure"):
            erased = context.ledger.record_erasures(users, context.now)
        num_buckets = context.settings.buffer.num_buckets
        buckets = sorted({bucket_of(user, num_buckets) for user in users})
        found = FileChanges()
        among = _Among(users)
        erase_from_events(context, among, found, progress)
        erase_from_buckets(context, buckets, among, found, progress)
        erase_from_others(context, buckets, among, found, progress)
        missing = _not_online(context, [user for user in users if user not in among.seen | erased_before])
        # Whoever read the users' rows before they left the files has brought them online when this lock is held.
        with StateLock(context.layout.online_lock()).exclusive():
            with crash_point("online_without"):
                online_rows = erase_online(context.settings, users)
            hashes = [erasure_hash(erased.salt, user) for user in users]
            with crash_point("erased"):
                context.ledger.complete_erasures(hashes, audit.actor(os.environ), context.time())
        report = ErasureReport(len(users), found.rows, found.rewritten, found.removed, online_rows)
        given = dict.fromkeys(user_ids)
        report.not_found = [user for user in given if known_id(context.settings, user) in missing]
        report.unfinished = context.ledger.unfinished_erasures()
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
    from updater.store.erasing import find_online

    if not users or not find_online(context.settings, users):
        return set(users)
    return {user for user in users if not find_online(context.settings, [user])}


def state_ids(context: Context, user_ids: Sequence[str]) -> list[str]:
    """The ids by which the state knows users, sorted, each once. Raises ConfigError if one cannot be an id."""
    if not user_ids:
        raise ConfigError("No user is named; give --user-id or --from-file.")
    for user in user_ids:
        try:
            user.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"The user id {user!a} is not UTF-8; no row of the state can have it.") from None
        if not user:
            raise ConfigError("A user id is empty; no row of the state can have it.")
    return sorted({known_id(context.settings, user) for user in user_ids})
