"""What users had done by a day, read from the state's event files by the rules of the daily update.

Bad rows were set aside when their day landed, an event counts in its newest version that had landed, and erased users
are gone. Nothing is landed here: what no window or training has read is not known.
"""

from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.modality import Modality
from updater.errors import NotLandedError
from updater.fidelity.events import History, make_stream
from updater.fidelity.hashing import is_train, sample
from updater.runtime.deployment import Context
from updater.state.event_store import Buffer, connect

_EXTRA = ("ds", "category", "text")


def read_history(context: Context, ds: date, users: int | None) -> History:
    """The buffer at the end of day `ds`, of at most `users` users (None: all), who are chosen by hash.

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
        buffers = [_buffer(context, connection, modality, ds) for modality in streams]
        window = context.window(ds)
        known: set[str] = set()
        for buffer in buffers:
            known.update(pc.unique(buffer.everyone(window)["user_id"]).to_pylist())
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


def _buffer(context: Context, connection: duckdb.DuckDBPyConnection, modality: Modality, last: date) -> Buffer:
    settings = context.settings
    files = context.event_files(modality.name, last)
    return Buffer(connection, modality, files, settings.buffer.days, settings.timezone)
