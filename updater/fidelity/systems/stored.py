"""The product's own vectors: embeddings as they were published, the same computed anew, and what lies below them.

The embeddings of all scenarios, one after the other in the order of the config, are one vector of a user: what a model
that reads every feature view would be given.
"""

# U users, S scenarios, E embedding width

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from updater.domain import columns
from updater.domain.buckets import bucket_of
from updater.domain.window import Window
from updater.evaluation.systems.vectors import UserVectors
from updater.pipeline.daily.bucket_values import read_buffer
from updater.runtime.deployment import Context, Progress, no_progress, open_context
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import Session
from updater.settings import Settings
from updater.state import embeddings as offline
from updater.state.bucket_files import files_of_buckets
from updater.state.lookup import Lookup
from updater.state.summaries import Summaries, newest_of
from updater.users.event_batches import UserEvents, user_batch

NOTHING_KNOWN = pa.schema(
    [(columns.JOIN_KEY, pa.string()), ("as_of", offline.TIMESTAMP), ("newest_event", pa.timestamp("s"))]
).empty_table()
USERS_PER_JOB = 512
"""Users that a process reads and embeds together."""


def published(context: Context, version: int, window: Window, users: Sequence[str]) -> UserVectors:
    """The rows that a model version had published by the window's end, (U, S E): of each user and scenario the newest.

    Users without a row of some scenario have zeros there; those without any are left out.
    """
    scenarios, width = context.settings.scenarios, context.settings.model.embedding_dim
    known, place = sorted(users), {user: row for row, user in enumerate(sorted(users))}
    values, found = np.zeros((len(known), len(scenarios), width)), np.zeros(len(known), dtype=bool)
    until, lookup = window.as_of.replace(tzinfo=None), Lookup()
    for bucket, members in _by_bucket(context, known).items():
        table = pa.table({columns.JOIN_KEY: pa.array(members, pa.string())})
        for position, scenario in enumerate(scenarios):
            root = context.layout.offline(columns.scenario_view(scenario.name, version))
            rows = offline.read_newest(root, bucket, table, lookup=lookup, until=until)
            if rows.num_rows:
                at = np.array([place[user] for user in rows[columns.JOIN_KEY].to_pylist()])
                flat = rows[columns.embedding(scenario.name)].combine_chunks().flatten().to_numpy()
                values[at, position] = flat.reshape(len(at), width)
                found[at] = True
    return UserVectors(np.array(known, str)[found], values[found].reshape(int(found.sum()), -1))


def provenance(context: Context, window: Window, users: Sequence[str]) -> pa.Table:
    """What the published rows of users know, as `questions.refuse_leaks` wants it: a row of each user who has one.

    A row that the window did not have to write anew is from an earlier instant and counts as one of its end.
    """
    streams = [m.name for m in context.settings.modalities if m.kind == "stream"]
    as_of, lookup = window.as_of.replace(tzinfo=None), Lookup()
    parts = []
    for bucket, members in _by_bucket(context, users).items():
        table = pa.table({columns.JOIN_KEY: pa.array(members, pa.string())})
        root = context.layout.offline(columns.SUMMARIES_VIEW)
        rows = offline.read_newest(root, bucket, table, lookup=lookup, until=as_of)
        if rows.num_rows:
            seconds = [rows[columns.last_event_at(name)].cast(pa.int64()) for name in streams]
            parts.append(
                pa.table(
                    {
                        columns.JOIN_KEY: rows[columns.JOIN_KEY],
                        "as_of": pc.max_element_wise(
                            rows[columns.EVENT_TIMESTAMP], pa.scalar(as_of, offline.TIMESTAMP)
                        ),
                        "newest_event": pc.cast(pc.max_element_wise(*seconds), pa.timestamp("s")),
                    }
                )
            )
    return pa.concat_tables(parts) if parts else NOTHING_KNOWN


def computed(
    context: Context,
    pool: ProcessPool,
    directory: str,
    window: Window,
    users: Sequence[str],
    progress: Progress = no_progress,
) -> UserVectors:
    """What the model in `directory` makes of the events that were known at the window's end, all of them anew: the
    same columns as `published`.
    """
    ordered = [user for members in _by_bucket(context, users).values() for user in members]
    parts = [ordered[start : start + USERS_PER_JOB] for start in range(0, len(ordered), USERS_PER_JOB)]
    jobs = [(context.settings, context.now, directory, window.ds, part) for part in parts]
    made: dict[int, NDArray[np.float32]] = {}
    for index, values in pool.map(_compute, jobs):
        made[index] = values
        progress("embedding anew", len(made), len(jobs))
    values = np.concatenate([made[index] for index in range(len(parts))]).astype(float)
    return UserVectors(np.array([user for part in parts for user in sorted(part)], str), values)


def _compute(settings: Settings, now: datetime, directory: str, ds: date, users: list[str]) -> NDArray[np.float32]:
    """In a worker: embeddings of `users`, sorted, (U, S E)."""
    from updater.model.inference import InferenceModel
    from updater.runtime.device import model_device
    from updater.runtime.session import fitting_model

    context = open_context(settings, now)
    with Session(context) as session:
        events = buffered(context, session, context.window(ds), users)
    model = InferenceModel(fitting_model(settings, directory).to(model_device(settings)))
    queries, names = [s.query for s in settings.scenarios], [s.name for s in settings.scenarios]
    size = settings.run.users_per_batch
    parts = [np.arange(start, min(start + size, len(users))) for start in range(0, len(users), size)]
    return np.concatenate([model.embed(user_batch(events, rows), queries, names) for rows in parts]).reshape(
        len(users), -1
    )


def buffered(context: Context, session: Session, window: Window, users: Sequence[str]) -> Sequence[UserEvents]:
    """The buffered events of `users` (sorted) at the window's end, per modality."""
    return read_buffer(context, session, window, sorted(_by_bucket(context, users)), users).events


def stored_summaries(context: Context, session: Session, window: Window, users: Sequence[str]) -> dict[str, Summaries]:
    """The summaries that the state had of `users` (sorted) by the window's end, per modality."""
    widths = {m.name: width for m, width in zip(context.settings.modalities, session.widths, strict=True)}
    wanted = pa.table({"user_id": pa.array(users, pa.string())})
    files = files_of_buckets(context.layout.summaries(), sorted(_by_bucket(context, users)))
    rows = None
    if files:
        session.connection.register("asked_users", wanted)
        query = """
            select * from read_parquet($files, hive_partitioning = false)
            where ds <= $last and user_id in (select user_id from asked_users)"""
        rows = session.connection.execute(query, {"files": files, "last": window.ds}).to_arrow_table()
    return newest_of(session.connection, rows, widths, wanted)


def _by_bucket(context: Context, users: Sequence[str]) -> dict[int, list[str]]:
    """Users by bucket, both sorted."""
    found: dict[int, list[str]] = {}
    for user in sorted(users):
        found.setdefault(bucket_of(user, context.settings.buffer.num_buckets), []).append(user)
    return dict(sorted(found.items()))
