"""The values of a bucket's users in a window: summaries, prefix fingerprints, embeddings. Reads, writes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.columns import PROFILE
from updater.domain.plan import BucketPlan, batch_plans, merge_plans
from updater.domain.window import Window
from updater.profile.profile import Profile
from updater.runtime.deployment import Context
from updater.runtime.session import Session
from updater.state import summaries as summary_store
from updater.state.bucket_files import files_of_buckets
from updater.state.event_store import Buffer
from updater.state.summaries import Summaries
from updater.users.event_batches import UserEvents, load_events, prefix_fingerprints, user_batch
from updater.users.profiles import profiles_of

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BucketResult:
    """What refreshing a bucket made, before it is written. U changed users come first, then backfill users."""

    users: list[str]
    num_changed: int
    summaries: list[Summaries]
    """Per modality, of all users."""
    changed_rows: Mapping[str, Int64]
    """Per modality the positions of the users whose summary was recomputed."""
    fingerprints: list[str]
    embeddings: npt.NDArray[np.float32]
    """Shape (users, scenarios of the config, embedding_dim); backfill users have only their new scenarios filled."""
    profiles: Sequence[Profile | None]
    """None where no profile was asked for."""
    was_active: int
    """Changed users that had events before."""


@dataclass(frozen=True)
class BufferedUsers:
    """The buffered events of some users at `window.as_of`."""

    users: pa.Table
    """Column user_id, sorted."""
    events: Sequence[UserEvents]
    """Per modality."""
    has_profiles: bool = False
    """What a textual profile counts was read as well."""

    def positions(self, users: Sequence[str]) -> Int64:
        """Where each of `users` is in `events`."""
        known = self.users["user_id"].combine_chunks()
        found: Int64 = pc.index_in(pa.array(users, pa.string()), value_set=known).to_numpy().astype(np.int64)
        return found


def read_buffer(
    context: Context,
    session: Session,
    window: Window,
    buckets: Sequence[int],
    users: Sequence[str],
    profiles: bool = False,
) -> BufferedUsers:
    """Read the events of `users`, who are in `buckets`: one pass over the event files for all of them.

    Args:
        context: the deployment.
        session: DuckDB and the texts' vectors.
        window: the window at whose end the buffer is read.
        buckets: the buckets of the users.
        users: whom to read.
        profiles: read what a textual profile counts as well.
    """
    settings = context.settings
    table = pa.table({"user_id": pa.array(sorted(users), pa.string())})
    if not users:
        return BufferedUsers(table, [])
    files = context.all_event_files(window.ds, buckets=buckets)
    events = []
    for modality in settings.modalities:
        buffer = Buffer(session.connection, modality, files[modality.name], settings.buffer.days, settings.timezone)
        counted = settings.profile.counted_column(modality) if profiles else ""
        events.append(load_events(buffer, modality, window, table, buckets, session.vectors, counted))
    return BufferedUsers(table, events, profiles)


def read_stored(context: Context, session: Session, buckets: Sequence[int], users: pa.Table) -> list[Summaries]:
    """The last published summaries of `users` (column user_id), who are in `buckets`, per modality."""
    widths = {modality.name: width for modality, width in zip(context.settings.modalities, session.widths, strict=True)}
    files = files_of_buckets(context.layout.summaries(), buckets)
    return list(summary_store.read_newest(session.connection, files, widths, users).values())


def compute(
    context: Context,
    session: Session,
    buffered: BufferedUsers,
    stored: Sequence[Summaries],
    plans: Sequence[BucketPlan],
) -> Iterator[BucketResult]:
    """The planned users' values, plan by plan, from their buffered events.

    Changed summaries are made from the events, the others are taken from `stored`, those of all `buffered` users. Small
    buckets share calls of the model, whose last one is filled up with zeros. Profiles are written if they were read.
    """
    for group in batch_plans(plans, context.settings.run.users_per_batch):
        values = _compute(context, session, buffered, stored, merge_plans(group))
        yield from (values.of(plan) for plan in group)


def _compute(
    context: Context, session: Session, buffered: BufferedUsers, stored: Sequence[Summaries], plan: BucketPlan
) -> "_Values":
    users = [*plan.users, *plan.backfill_users]
    scenarios = context.settings.scenarios
    order = buffered.positions(users)
    # Copies, which are brought up to date batch by batch.
    summaries = [summary.take(order) for summary in stored]
    events_before_B = np.sum([summary.num_events_B for summary in summaries], axis=0)
    changed = {
        modality.name: np.flatnonzero([user in plan.changed[modality.name] for user in users])
        for modality in context.settings.modalities
    }
    embeddings = np.zeros((len(users), len(scenarios), context.settings.model.embedding_dim), np.float32)
    fingerprints: list[str] = []
    profiles: list[Profile | None] = []
    groups = [
        (np.arange(len(plan.users)), list(scenarios), buffered.has_profiles),
        (
            np.arange(len(plan.users), len(users)),
            [scenario for scenario in scenarios if scenario.name in plan.new_scenarios],
            buffered.has_profiles and PROFILE in plan.new_scenarios,
        ),
    ]
    size = context.settings.run.users_per_batch
    for group, asked, with_profiles in groups:
        columns = np.array([scenarios.index(scenario) for scenario in asked])
        queries, names = [scenario.query for scenario in asked], [scenario.name for scenario in asked]
        for start in range(0, len(group), size):
            rows = group[start : start + size]
            for event, summary in zip(buffered.events, summaries, strict=True):
                own = np.intersect1d(rows, changed[event.modality.name], assume_unique=True)
                summary.put(own, event.summarize(order[own]))
            fingerprints += prefix_fingerprints(buffered.events, order[rows])
            if asked:
                asked_of = user_batch(buffered.events, order[rows])
                embeddings[np.ix_(rows, columns)] = session.inference.embed(asked_of, queries, names)
            if with_profiles:
                profiles += profiles_of(buffered.events, order[rows], context.settings.profile).profiles
            else:
                profiles += [None] * len(rows)
    known = {user: row for row, user in enumerate(users)}
    return _Values(known, summaries, events_before_B, fingerprints, embeddings, profiles)


@dataclass(frozen=True)
class _Values:
    """As `BucketResult`, of the users of one bucket or of several."""

    users: Mapping[str, int]
    """Users to their rows."""
    summaries: Sequence[Summaries]
    events_before_B: Int64
    """Events that the users had before."""
    fingerprints: Sequence[str]
    embeddings: npt.NDArray[np.float32]
    profiles: Sequence[Profile | None]

    def of(self, plan: BucketPlan) -> BucketResult:
        """The part of a plan."""
        users = [*plan.users, *plan.backfill_users]
        rows = np.array([self.users[user] for user in users], np.int64)
        return BucketResult(
            users=users,
            num_changed=len(plan.users),
            summaries=[summary.take(rows) for summary in self.summaries],
            changed_rows={
                name: np.flatnonzero([user in changed for user in users]) for name, changed in plan.changed.items()
            },
            fingerprints=[self.fingerprints[row] for row in rows],
            embeddings=self.embeddings[rows],
            profiles=[self.profiles[row] for row in rows],
            was_active=int(np.count_nonzero(self.events_before_B[rows[: len(plan.users)]])),
        )
