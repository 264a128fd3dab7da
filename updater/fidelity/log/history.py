"""What users had done by a day, read from the state's event files by the rules of the daily update.

Bad rows were set aside when their day landed, an event counts in its newest version that had landed, and erased users
are gone. Nothing is landed here: what no window or training has read is not known.
"""

from collections.abc import Collection
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.domain.window import days
from updater.errors import NotLandedError
from updater.fidelity.hashing import is_train, sample
from updater.fidelity.log.events import History, Upcoming, make_stream, make_upcoming, microseconds
from updater.runtime.deployment import Context
from updater.state.event_store import Buffer, connect

_EXTRA = ("ds", "category", "text")


def read_history(context: Context, ds: date, users: int | None = None, among: Collection[str] | None = None) -> History:
    """The buffer at the end of day `ds`, of at most `users` users (None: all), who are chosen by hash; or of those
    `among` these that there are.

    Raises:
        NotLandedError: a modality that is not optional has not landed on `ds` in the state.
    """
    streams = [modality for modality in context.settings.modalities if modality.kind == "stream"]
    for modality in streams:
        if not modality.optional and context.ledger.partition(modality.name, ds) is None:
            raise NotLandedError(
                f"{modality.name} of {ds} is not in the state, so nobody knows what users had done by then; "
                f"run `updater run --ds {ds}`.",
                modality=modality.name,
                ds=ds,
            )
    with connect(context.settings.paths.lake, context.settings.paths.state) as connection:
        buffers = [_buffer(context, connection, modality, ds, context.settings.buffer.days) for modality in streams]
        window = context.window(ds)
        known: set[str] = set()
        for buffer in buffers:
            known.update(pc.unique(buffer.everyone(window)["user_id"]).to_pylist())
        if among is not None:
            known &= set(among)
        chosen = sample(known - context.ledger.erased().among(known), users)
        wanted = pa.array(chosen, pa.string())
        of_chosen = pa.table({"user_id": wanted})
        train_U = np.array([is_train(user) for user in chosen], bool)
        made = tuple(
            make_stream(
                modality.name,
                modality.category,
                bool(modality.text),
                buffer.content(window, of_chosen, extra=_EXTRA),
                wanted,
                train_U,
                ds,
            )
            for modality, buffer in zip(streams, buffers, strict=True)
        )
    return History(ds, context.settings.timezone, context.settings.buffer.days, tuple(chosen), train_U, made)


def read_upcoming(context: Context, history: History, horizon_days: int) -> tuple[Upcoming, ...] | None:
    """What users did in the `horizon_days` local days after the history, as it was known at their end; of each stream.

    None until all these days have landed in the state: of the modalities that are not optional, or of all if all are.
    """
    streams = [modality for modality in context.settings.modalities if modality.kind == "stream"]
    first, last = history.ds + timedelta(days=1), history.ds + timedelta(days=horizon_days)
    for modality in [stream for stream in streams if not stream.optional] or streams:
        landed = {record.ds for record in context.ledger.partitions(modality.name, first, last)}
        if not landed.issuperset(days(first, last)):
            return None
    window, wanted = context.window(last), pa.array(history.users, pa.string())
    of_chosen = pa.table({"user_id": wanted})
    with connect(context.settings.paths.lake, context.settings.paths.state) as connection:
        found = []
        for modality, stream in zip(streams, history.streams, strict=True):
            # A buffer of as many days begins at `as_of`.
            buffer = _buffer(context, connection, modality, last, horizon_days)
            events = buffer.content(window, of_chosen, extra=_EXTRA)
            upcoming = make_upcoming(stream, events, wanted)
            assert upcoming.times_E.min(initial=microseconds(history.as_of)) >= microseconds(history.as_of)
            found.append(upcoming)
        return tuple(found)


def _buffer(
    context: Context, connection: duckdb.DuckDBPyConnection, modality: Modality, last: date, num_days: int
) -> Buffer:
    files = context.event_files(modality.name, last)
    return Buffer(connection, modality, files, num_days, context.settings.timezone)
