"""What a history should lead to, computed the slow and plain way from the contract: no Arrow, SQL or increments."""

from datetime import date, timedelta
from typing import Any

import numpy as np

from tests.strategies import BUFFER_DAYS, MODALITIES, History, Row, day_start
from updater.model.batch import ModalityBatch, UserBatch

STREAMS = ("bill", "search")
NAMES = tuple(modality["name"] for modality in MODALITIES)
MAX_EVENTS = {modality["name"]: modality["max_events"] for modality in MODALITIES}
DAY = 86_400.0

Content = dict[str, tuple[Row, ...]]
Cell = tuple[str, str]
"""A user and a modality."""


def text_of(modality: str, row: Row) -> str:
    """What the modality's template makes of a row."""
    return f"{row.word} at corner shop" if modality == "bill" else row.word


def numbers_of(modality: str, row: Row) -> tuple[float, ...]:
    """The modality's numeric columns of a row."""
    return () if modality == "search" else (row.amount,)


def stands(history: History, modality: str, ds: date) -> dict[tuple[str, str], Row]:
    """A landing without the rows that a later row of the same file replaces."""
    rows = history.landings[(ds - history.start).days][modality] or ()
    return {(row.user_id, row.event_id): row for row in rows}


def content(history: History, modality: str, ds: date) -> Content:
    """Events held at the end of `ds`, per user with any, oldest first (a snapshot's by id)."""
    known: dict[tuple[str, str], Row] = {}
    for day in history.days:
        if day > ds:
            break
        arrived = stands(history, modality, day)
        if modality not in STREAMS:
            delivered = {user for user, _ in arrived}
            known = {key: row for key, row in known.items() if key[0] not in delivered}
        known |= arrived
    start = day_start(ds - timedelta(days=BUFFER_DAYS - 1), history.timezone)
    held: dict[str, list[Row]] = {}
    for row in known.values():
        if not row.deleted and (modality not in STREAMS or row.event_time >= start):
            held.setdefault(row.user_id, []).append(row)
    order = (lambda row: (row.event_time, row.event_id)) if modality in STREAMS else (lambda row: row.event_id)
    return {user: tuple(sorted(rows, key=order)) for user, rows in held.items()}


def marks(modality: str, rows: tuple[Row, ...]) -> set[Any]:
    """What of a user's events counts as their content: a snapshot's times do not."""
    return {
        (
            row.event_id,
            text_of(modality, row),
            numbers_of(modality, row),
            row.event_time if modality in STREAMS else None,
        )
        for row in rows
    }


def changed_summaries(history: History, ds: date) -> set[Cell]:
    """Cells whose content differs from that of the day before; in the first window all with content."""
    cells = set()
    for modality in NAMES:
        after = content(history, modality, ds)
        before = {} if ds == history.windows[0] else content(history, modality, ds - timedelta(days=1))
        for user in after.keys() | before.keys():
            if marks(modality, after.get(user, ())) != marks(modality, before.get(user, ())):
                cells.add((user, modality))
    return cells


def new_texts(history: History, ds: date) -> set[str]:
    """Distinct texts that arrive with the window of `ds` and never before."""
    reach = history.windows[0] - timedelta(days=BUFFER_DAYS - 1)

    def texts(day: date) -> set[str]:
        return {
            text_of(modality, row)
            for modality in NAMES
            if modality not in STREAMS or day >= reach
            for row in stands(history, modality, day).values()
            if not row.deleted
        }

    first = ds == history.windows[0]
    before = [] if first else [day for day in history.days if day < ds]
    now = [day for day in history.days if day <= ds] if first else [ds]
    return set().union(*map(texts, now)) - set().union(*map(texts, before))


def vector(modality: str, row: Row, encoder: Any) -> list[float]:
    """The raw vector of an event."""
    text = [float(value) for value in encoder.encode([text_of(modality, row)])[0]]
    return text + [float(np.arcsinh(number)) for number in numbers_of(modality, row)]


def summary(modality: str, rows: tuple[Row, ...], encoder: Any, width: int) -> dict[str, Any]:
    """The columns of the stored summary of a cell."""
    vectors = [vector(modality, row, encoder) for row in rows]
    mean = [np.float32(sum(column) / len(rows)) for column in zip(*vectors, strict=True)] or [np.float32(0)] * width
    times = [row.event_time.timestamp() for row in rows] if modality in STREAMS else []
    return {
        "num_events": len(rows),
        "first_event": times[0] if times else None,
        "last_event": times[-1] if times else None,
        "num_recent_7": sum(times[-1] - time <= 7 * DAY for time in times),
        "num_recent_28": sum(times[-1] - time <= 28 * DAY for time in times),
        "mean": [float(value) for value in mean],
    }


def embeddings(history: History, user: str, ds: date, model: Any, encoder: Any, queries: list[str]) -> np.ndarray:
    """The user's embeddings at the end of `ds`, from scratch and alone; shape (questions, embedding_dim)."""
    held = {modality: content(history, modality, ds).get(user, ()) for modality in NAMES}
    newest = max((row.event_time.timestamp() for name in STREAMS for row in held[name]), default=0.0)
    parts = []
    for config in model.config.modalities:
        rows, width = held[config.name], model.config.vector_dim(config)
        stored = summary(config.name, rows, encoder, width)
        snapshot = config.name not in STREAMS
        tokens = rows[-MAX_EVENTS[config.name] :]
        ends = [newest, newest] if snapshot and rows else [stored["first_event"] or 0.0, stored["last_event"] or 0.0]
        parts.append(
            ModalityBatch(
                mean_BV=np.array([stored["mean"]], np.float32),
                num_events_B=np.array([len(rows)]),
                first_event_B=np.array([ends[0]]),
                last_event_B=np.array([ends[1]]),
                num_recent_BR=np.array([[stored["num_recent_7"], stored["num_recent_28"]]]),
                vectors_NV=np.array([vector(config.name, row, encoder) for row in tokens], np.float32).reshape(
                    -1, width
                ),
                times_N=np.array([newest if snapshot else row.event_time.timestamp() for row in tokens], np.float64),
                offsets_B1=np.array([0, len(tokens)]),
                texts_TX=np.array(
                    [vector(config.name, row, encoder)[: model.config.text_dim] for row in rows], np.float32
                ).reshape(-1, model.config.text_dim),
                text_rows_A=np.arange(len(rows)),
                text_offsets_B1=np.array([0, len(rows)]),
            )
        )
    return model.embed(UserBatch(tuple(parts)), queries)[0]
