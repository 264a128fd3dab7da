"""The event log as the encoders read it: the buffer at some anchors, with items and categories as numbers.

An item is a distinct text of an event of a stream. Which items and categories have a number of their own is decided on
the users and days that are trained on; all others share one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from updater.domain.declared.modality import Modality
from updater.domain.window import Window
from updater.encoders.sequences import FIRST, OTHER, PADDING, Sequences, Sizes
from updater.errors import NotLandedError
from updater.labels.split import is_held_out
from updater.lake.schemas import TEXT_ID_BYTES, numeric_columns
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.session import Session
from updater.state.event_store import Buffer
from updater.users.event_batches import MICROSECONDS
from updater.users.local_time import local_seconds

MAX_ITEMS = 4_000
"""Texts that are items of their own, the commonest."""
MAX_CATEGORIES = 500
"""Values of the modalities' category columns that have a number of their own, the commonest of all together."""
SECONDS_OF_DAY = 86_400

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Log:
    """Sequences at some anchors, all in the same numbers."""

    at: dict[date, Sequences]
    train: tuple[date, ...]
    """Anchors that are trained on, in order."""
    sizes: Sizes
    item_counts: Int64
    """How often each item occurs in what is trained on; shape (items,)."""


@dataclass(frozen=True, eq=False)
class _Events:
    """The events of one anchor, user by user in the order of time, before their items have numbers."""

    users: NDArray[np.str_]
    owners_N: Int64
    seconds_N: NDArray[np.float64]
    modalities_N: Int64
    numbers_NC: NDArray[np.float32]
    texts: pa.DictionaryArray
    """Ids of texts."""
    categories: pa.DictionaryArray
    """`modality:value`; null of an event without one."""


def read_log(
    context: Context,
    anchors: Sequence[date],
    train: Sequence[date],
    max_items: int = MAX_ITEMS,
    progress: Progress = no_progress,
) -> Log:
    """Read the buffer at the end of each anchor day, as it was known then.

    Args:
        context: the deployment; the days of the buffers must have been landed and encoded.
        anchors: days at which users are embedded.
        train: days whose buffers are trained on.
        max_items: items with a number of their own.
        progress: called as work is done.

    Raises:
        NotLandedError: nobody who may be trained on has an event.
    """
    days = sorted({*anchors, *train})
    found: dict[date, _Events] = {}
    with Session(context) as session:
        for done, day in enumerate(days):
            progress("reading sequences", done, len(days))
            found[day] = _read(context, session, context.window(day))
        distinct = pc.unique(pa.concat_arrays([events.texts.dictionary for events in found.values()]))
        texts = distinct.take(pc.sort_indices(distinct))
        vectors_TX = session.vectors.gather(texts.cast(pa.binary(TEXT_ID_BYTES)))
    trained = [found[day] for day in sorted(set(train))]
    items, item_counts = _vocabulary([events.texts for events in trained], trained, max_items)
    categories, _ = _vocabulary([events.categories for events in trained], trained, MAX_CATEGORIES)
    if not len(items):
        raise NotLandedError(
            f"no user who may be trained on has a stream event at {', '.join(map(str, train))}; "
            "land the days before these anchors."
        )
    sequences = {
        day: _sequences(events, items, categories, texts, vectors_TX, context.settings.timezone)
        for day, events in found.items()
    }
    streams = _streams(context)
    sizes = Sizes(
        items=FIRST + len(items),
        categories=FIRST + len(categories),
        modalities=1 + len(streams),
        numbers=max(len(modality.numeric) for modality in streams),
        text_dim=vectors_TX.shape[1],
    )
    return Log(sequences, tuple(sorted(set(train))), sizes, item_counts)


def _streams(context: Context) -> list[Modality]:
    return [modality for modality in context.settings.modalities if modality.kind == "stream"]


def _read(context: Context, session: Session, window: Window) -> _Events:
    streams, settings = _streams(context), context.settings
    files = context.all_event_files(window.ds)
    width = max(len(modality.numeric) for modality in streams)
    tables, numbers = [], []
    for modality in streams:
        buffer = Buffer(session.connection, modality, files[modality.name], settings.buffer.days, settings.timezone)
        table = buffer.content(window, extra=("category",))
        named = pc.binary_join_element_wise(
            modality.name, pc.if_else(pc.equal(table["category"], ""), None, table["category"]), ":"
        )
        numeric = [np.nan_to_num(table[name].to_numpy().astype(np.float64)) for name in numeric_columns(modality)]
        columns = np.arcsinh(np.stack(numeric, axis=1)) if numeric else np.zeros((table.num_rows, 0))
        numbers.append(np.pad(columns, ((0, 0), (0, width - columns.shape[1]))).astype(np.float32))
        wanted = table.select(["user_id", "event_id", "event_time", "text_id"]).append_column("category", named)
        tables.append(wanted.cast(_EVENTS))
    events = pa.concat_tables(tables)
    users = pc.unique(events["user_id"]).sort()
    owners = pc.index_in(events["user_id"].combine_chunks(), value_set=users).to_numpy().astype(np.int64)
    seconds = events["event_time"].cast(pa.int64()).to_numpy() / MICROSECONDS
    modalities = np.repeat(np.arange(1, len(streams) + 1), [table.num_rows for table in tables])
    # Events of one instant, such as the lines of a receipt, have no order. That of their ids may be the order of the
    # items' own numbers, which a model would learn instead of what users do; a hash of the ids says nothing.
    drawn = pd.util.hash_array(events["event_id"].to_numpy(zero_copy_only=False), categorize=False)
    order = np.lexsort((drawn, modalities, seconds, owners))
    return _Events(
        users=np.array(users.to_pylist(), dtype=str),
        owners_N=owners[order],
        seconds_N=seconds[order],
        modalities_N=modalities[order],
        numbers_NC=np.concatenate(numbers)[order],
        texts=events["text_id"].combine_chunks().dictionary_encode().take(pa.array(order)),
        categories=events["category"].combine_chunks().dictionary_encode().take(pa.array(order)),
    )


_EVENTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_id", pa.string()),
        ("event_time", pa.timestamp("us")),
        ("text_id", pa.binary()),
        ("category", pa.string()),
    ]
)


def _vocabulary(columns: Sequence[pa.DictionaryArray], events: Sequence[_Events], most: int) -> tuple[pa.Array, Int64]:
    """The commonest values of users who are not held out, commonest first, and the counts of their numbers."""
    counts: dict[bytes | str, int] = {}
    for column, known in zip(columns, events, strict=True):
        shown = (
            pa.array(~is_held_out(known.users.tolist())[known.owners_N])
            if len(known.users)
            else pa.array([], pa.bool_())
        )
        rows = column.filter(shown)
        numbers = np.bincount(rows.indices.drop_null().to_numpy(), minlength=len(rows.dictionary))
        for value, number in zip(rows.dictionary.to_pylist(), numbers.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
    ordered = sorted((value for value, number in counts.items() if number), key=lambda value: (-counts[value], value))
    chosen = ordered[:most]
    rare = sum(counts[value] for value in ordered[most:])
    kind = columns[0].dictionary.type if columns else pa.null()
    return pa.array(chosen, kind), np.array([0, rare, *(counts[value] for value in chosen)], np.int64)


def _numbers(column: pa.DictionaryArray, vocabulary: pa.Array) -> Int64:
    """The numbers of values: from FIRST in the vocabulary's order, OTHER beyond it, PADDING of nulls."""
    places = pc.fill_null(pc.index_in(column.dictionary, value_set=vocabulary), -1).to_numpy().astype(np.int64)
    known = np.append(np.where(places < 0, OTHER, places + FIRST), PADDING)
    found: Int64 = known[pc.fill_null(column.indices, len(places)).to_numpy()]
    return found


def _sequences(
    events: _Events,
    items: pa.Array,
    categories: pa.Array,
    texts: pa.Array,
    vectors_TX: NDArray[np.float16],
    timezone: str,
) -> Sequences:
    seconds, owners = events.seconds_N, events.owners_N
    begins = np.diff(owners, prepend=-1) > 0
    gaps = np.where(begins, 0.0, np.diff(seconds, prepend=0.0)) / SECONDS_OF_DAY
    rows = pc.index_in(events.texts.dictionary, value_set=texts).to_numpy().astype(np.int64)
    return Sequences(
        users=events.users,
        offsets_U1=np.searchsorted(owners, np.arange(len(events.users) + 1)).astype(np.int64),
        items_N=_numbers(events.texts, items),
        modalities_N=events.modalities_N,
        categories_N=_numbers(events.categories, categories),
        hours_N=(local_seconds(seconds, timezone) % SECONDS_OF_DAY // 3600).astype(np.int64) + 1,
        gaps_N=np.log1p(gaps).astype(np.float32),
        seconds_N=seconds,
        numbers_NC=events.numbers_NC,
        text_rows_N=rows[events.texts.indices.to_numpy()],
        texts_TX=vectors_TX,
    )
