"""Rows that a model version is missing beside the live one, and computing them: the same users, the same instants.

A row that the live version wrote has a row of the other version beside it: the same user, `event_timestamp` and
`created_timestamp`, computed from what was known at that instant. So a version that becomes live later has the rows
that it would have if it had been live all along, however often this is killed and run again.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.domain.declared.scenario import Scenario
from updater.domain.plan import BucketPlan
from updater.domain.window import Window
from updater.errors import ConcurrentUpdateError
from updater.lake import partitions
from updater.ledger import ModelRecord
from updater.pipeline.daily.bucket_values import compute, read_buffer, read_stored
from updater.pipeline.daily.refresh import USERS_PER_READ
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext, day_after, open_writable
from updater.runtime.process_pool import ProcessPool, open_session
from updater.runtime.session import Session
from updater.runtime.state_lock import Lock, StateLock
from updater.runtime.timing import Stopwatch
from updater.settings import Settings
from updater.state import embeddings as offline
from updater.state.bucket_files import bucket_files

logger = logging.getLogger(__name__)

WINDOWS_PER_QUERY = 32
"""Windows whose rows a process compares at a time."""
ROWS_SCHEMA = pa.schema(
    [
        (columns.JOIN_KEY, pa.string()),
        (columns.EVENT_TIMESTAMP, offline.TIMESTAMP),
        (columns.CREATED_TIMESTAMP, offline.TIMESTAMP),
    ]
)


@dataclass(frozen=True)
class VersionBackfill:
    """Which rows a version is to have."""

    model: ModelRecord
    live: int
    """The version whose rows say which users and instants."""
    windows: tuple[Window, ...]
    """Completed windows, oldest first."""
    from_date: date
    """Of windows before it, only each user's newest row: the one that counts at its end."""
    generation: int
    """Of the files; higher than that of any file that the version has rows of these windows in."""


@dataclass(frozen=True)
class MissingRows:
    """Rows that the version is missing in one bucket and window."""

    window: Window
    known: Window
    """What was known at its end makes the rows. Of rows that still count at the first day, that is the day before it:
    their users did not change since, and older days may have been dropped.
    """
    bucket: int
    rows: dict[str, pa.Table]
    """Per scenario the users, and the `created_timestamp` of each one's row. Scenarios without any are left out."""

    @property
    def users(self) -> list[str]:
        """All users, sorted."""
        return sorted(set().union(*(table[columns.JOIN_KEY].to_pylist() for table in self.rows.values())))

    @property
    def num_rows(self) -> int:
        """Rows over all scenarios."""
        return sum(table.num_rows for table in self.rows.values())


def find_missing_rows(
    context: Context, connection: duckdb.DuckDBPyConnection, job: VersionBackfill, buckets: Sequence[int]
) -> Iterator[MissingRows]:
    """Find the rows that the version is missing in some buckets, window by window, oldest first."""
    past = [window for window in job.windows if window.ds < job.from_date]
    rest = job.windows[len(past) :]
    groups = [rest[start : start + WINDOWS_PER_QUERY] for start in range(0, len(rest), WINDOWS_PER_QUERY)]
    for windows, newest_only in [(past, True), *((group, False) for group in groups)]:
        found: dict[tuple[datetime, int], dict[str, pa.Table]] = {}
        for bucket in buckets if windows else ():
            for scenario in context.settings.scenarios:
                rows = _missing_rows(context, connection, job, bucket, scenario, windows, newest_only)
                for instant in pc.unique(rows[columns.EVENT_TIMESTAMP]).to_pylist():
                    own = rows.filter(pc.equal(rows[columns.EVENT_TIMESTAMP], pa.scalar(instant, offline.TIMESTAMP)))
                    found.setdefault((instant, bucket), {})[scenario.name] = own
        by_instant = {window.as_of.replace(tzinfo=None): window for window in windows}
        for instant, bucket in sorted(found):
            window = by_instant[instant]
            yield MissingRows(window, past[-1] if newest_only else window, bucket, found[instant, bucket])


def _missing_rows(
    context: Context,
    connection: duckdb.DuckDBPyConnection,
    job: VersionBackfill,
    bucket: int,
    scenario: Scenario,
    windows: Sequence[Window],
    newest_only: bool,
) -> pa.Table:
    """Rows of the live version's view beside which there is none of the other's, or only one from before a
    restatement.
    """
    names = (columns.scenario_view(scenario.name, version) for version in (job.live, job.model.version))
    live, own = (bucket_files(context.layout.offline(name), bucket) for name in names)
    keys = f"{columns.JOIN_KEY}, {columns.EVENT_TIMESTAMP}, {columns.CREATED_TIMESTAMP}"
    if not live:
        return ROWS_SCHEMA.empty_table()
    written = f"""
        select {columns.JOIN_KEY}, {columns.EVENT_TIMESTAMP}, max({columns.CREATED_TIMESTAMP}) as
        {columns.CREATED_TIMESTAMP} from read_parquet($%s, hive_partitioning = false)
        where {columns.EVENT_TIMESTAMP} between $first and $last group by all"""
    newest = f"qualify row_number() over (partition by {columns.JOIN_KEY} order by {columns.EVENT_TIMESTAMP} desc) = 1"
    query = f"with wanted as (select * from ({written % 'live'}) {newest if newest_only else ''}) "
    bound: dict[str, object] = {
        "live": live,
        "first": windows[0].as_of.replace(tzinfo=None),
        "last": windows[-1].as_of.replace(tzinfo=None),
    }
    if own:
        bound["own"] = own
        query += f"""
            select {keys} from wanted anti join ({written % "own"}) as own on
            own.{columns.JOIN_KEY} = wanted.{columns.JOIN_KEY}
            and own.{columns.EVENT_TIMESTAMP} = wanted.{columns.EVENT_TIMESTAMP}
            and own.{columns.CREATED_TIMESTAMP} >= wanted.{columns.CREATED_TIMESTAMP} """
    else:
        query += f"select {keys} from wanted "
    return connection.execute(f"{query} order by {keys}", bound).to_arrow_table()


def backfill_version(
    context: WritableContext, session: Session, job: VersionBackfill, buckets: Sequence[int]
) -> dict[str, int]:
    """Compute the missing rows of some buckets. Returns the prefixes computed and the rows written."""
    counts = {"prefixes": 0, "rows": 0}
    waiting: list[MissingRows] = []
    waiting_users = 0
    for missing in find_missing_rows(context, session.connection, job, buckets):
        num_users = len(missing.users)
        if waiting and (waiting[0].known != missing.known or waiting_users + num_users > USERS_PER_READ):
            _fill(context, session, job, waiting)
            waiting, waiting_users = [], 0
        waiting.append(missing)
        waiting_users += num_users
        counts["prefixes"] += num_users
        counts["rows"] += missing.num_rows
    _fill(context, session, job, waiting)
    return counts


def _fill(context: WritableContext, session: Session, job: VersionBackfill, all_missing: Sequence[MissingRows]) -> None:
    """Make what rests on the knowledge of one window, with one pass over the event files."""
    if not all_missing:
        return
    watch = Stopwatch()
    known, modalities = all_missing[0].known, context.settings.modalities
    plans = []
    for missing in all_missing:
        users = tuple(missing.users)
        plans.append(BucketPlan({m.name: frozenset(users) for m in modalities}, users, (), ()))
    everyone = {user for plan in plans for user in plan.users}
    buckets = [missing.bucket for missing in all_missing]
    buffered = read_buffer(context, session, known, buckets, sorted(everyone))
    # Days are dropped after that is written down, so what was read before this look was whole.
    if (earliest := context.ledger.earliest_recomputable()) is not None and day_after(known.ds) < earliest:
        raise ConcurrentUpdateError(
            f"Days before {earliest} were dropped while this ran; run the same command again.", cause="maintenance"
        )
    stored = read_stored(context, session, buckets, buffered.users)
    results = compute(context, session, buffered, stored, plans)
    for missing, plan, result in zip(all_missing, plans, results, strict=True):
        # An erasure that begins later waits for these files, and finds them.
        with StateLock(context, Lock.REWRITING).shared():
            erased = context.ledger.erased()
            kept = {user: row for row, user in enumerate(plan.users) if user not in erased}
            for position, scenario in enumerate(context.settings.scenarios):
                if (rows := missing.rows.get(scenario.name)) is not None:
                    _write(context, job, missing, scenario, rows, kept, result.embeddings[:, position])
    logger.info(
        "computed %s in %d buckets, windows up to %s: %d users, %.1f s",
        job.model.name,
        len(set(buckets)),
        all_missing[-1].window,
        len(everyone),
        watch.seconds,
    )


def _write(
    context: WritableContext,
    job: VersionBackfill,
    missing: MissingRows,
    scenario: Scenario,
    rows: pa.Table,
    users: Mapping[str, int],
    embeddings_UE: npt.NDArray[np.float32],
) -> None:
    """Write the rows that `users` (to their row in `embeddings_UE`) have in one scenario, with those that the file may
    have already.
    """
    parts = []
    for created in sorted(set(rows[columns.CREATED_TIMESTAMP].to_pylist())):
        chosen = rows.filter(pc.equal(rows[columns.CREATED_TIMESTAMP], pa.scalar(created, offline.TIMESTAMP)))
        names = [user for user in chosen[columns.JOIN_KEY].to_pylist() if user in users]
        values = embeddings_UE[[users[user] for user in names]]
        as_of, instant = missing.window.as_of, created.replace(tzinfo=missing.window.as_of.tzinfo)
        parts.append(offline.scenario_rows(scenario, job.model.name, names, values, as_of, instant))
    view = columns.scenario_view(scenario.name, job.model.version)
    path = context.layout.bucket_file(view, missing.window.ds, missing.bucket, job.generation)
    table = pa.concat_tables(parts)
    if partitions.exists(path):
        stored = partitions.read_table(path)
        again = pc.is_in(stored[columns.JOIN_KEY], value_set=table[columns.JOIN_KEY].combine_chunks())
        table = pa.concat_tables([table, stored.filter(pc.invert(again)).cast(table.schema)])
    if table.num_rows:
        with crash_point("backfilled"):
            partitions.write_table(path, table.sort_by(columns.JOIN_KEY).combine_chunks())


def backfill_buckets(
    pool: ProcessPool, job: VersionBackfill, buckets: Sequence[int]
) -> Iterator[tuple[list[int], dict[str, int]]]:
    """Compute missing rows, neighbours together; yields buckets as they are done, with the counts."""
    groups = pool.groups(buckets)
    jobs = [(pool.settings, pool.now, job, group) for group in groups]
    for index, counts in pool.map(_backfill_job, jobs):
        yield groups[index], counts


def _backfill_job(settings: Settings, now: datetime, job: VersionBackfill, buckets: list[int]) -> dict[str, int]:
    context = open_writable(settings, now)
    session = open_session(context, job.model)
    return backfill_version(context, session, job, buckets)
