"""Encode: each distinct new text once. Work is proportional to new texts, not to events, users or days."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.declared.modality import Modality
from updater.domain.window import Window
from updater.lake import partitions
from updater.lake.schemas import TEXT_ID_BYTES
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.session import text_vectors
from updater.runtime.timing import Stopwatch
from updater.state.event_store import EventFile, row_batches
from updater.state.text_vectors import TextVectors

logger = logging.getLogger(__name__)

EncodeTexts = Callable[[list[str]], npt.NDArray[np.float16]]
"""From texts to their vectors, shape (number of texts, V)."""
_NO_TEXTS = pa.schema([("text_id", pa.binary(TEXT_ID_BYTES)), ("text", pa.string())]).empty_table()
SEGMENT_TEXTS = 8192
"""Texts per segment: what a killed run has to encode again at most."""


@dataclass(frozen=True)
class Encoded:
    """What one window asked of the text encoder in one modality."""

    modality: str
    texts: int
    """Distinct texts of the window's events."""
    texts_encoded: int
    """Those that had no vector yet."""


@dataclass(frozen=True)
class NewTexts:
    """Distinct texts of some events."""

    texts: pa.Table
    """Those without a vector: text_id, text."""
    num_distinct: int
    """How many there are, those with a vector as well."""


def _window_files(context: Context, window: Window, modality: Modality) -> list[EventFile]:
    """Event files that a window brings: its own day's, or all that the first window ever has to land."""
    if context.first_window() == window.ds:
        return context.event_files(modality.name, window.ds)
    record = context.ledger.partition(modality.name, window.ds)
    return context.files_of_day(modality.name, window.ds, record.events_file) if record and record.events_file else []


def find_new_texts(files: Sequence[EventFile], vectors: TextVectors, known: Sequence[NewTexts] = ()) -> NewTexts:
    """Distinct texts of `files`, and which of them have no vector yet and are not among those in `known`."""
    seen, new = pa.array([], pa.binary(TEXT_ID_BYTES)), _NO_TEXTS
    for rows in row_batches(files, ["text_id", "text", "deleted"]):
        # Only ids and texts without a vector stay in memory, each once.
        texts = rows.filter(pc.invert(rows["deleted"])).group_by(["text_id", "text"]).aggregate([]).combine_chunks()
        ids = texts["text_id"].combine_chunks().cast(seen.type)
        fresh = pc.is_null(pc.index_in(ids, value_set=seen))
        texts, ids = texts.filter(fresh).cast(_NO_TEXTS.schema), ids.filter(fresh)
        seen = pa.concat_arrays([seen, ids])
        new = pa.concat_tables([new, texts.filter(vectors.unknown(ids))])
    for other in known:
        again = pc.is_in(new["text_id"], value_set=other.texts["text_id"].combine_chunks())
        new = new.filter(pc.invert(again))
    return NewTexts(new.sort_by("text_id"), len(seen))


def encode(
    context: WritableContext,
    window: Window,
    modality: Modality,
    encode_texts: EncodeTexts,
    progress: Progress = no_progress,
    vectors: TextVectors | None = None,
    planned: NewTexts | None = None,
) -> Encoded:
    """Encode the texts that the window brought and nobody has encoded before; run again, it finds them encoded.

    Args:
        context: the deployment.
        window: the window.
        modality: whose texts to encode.
        encode_texts: makes the vectors.
        progress: called as texts are encoded.
        vectors: the text vectors, opened before; opened here if left out.
        planned: the window's texts, if it was planned; found here if left out.
    """
    vectors = vectors or text_vectors(context)
    if planned is None:
        planned = find_new_texts(_window_files(context, window, modality), vectors)
    # Before the texts are encoded: an attempt after a kill finds fewer that are new than the window brought.
    if not partitions.exists(_record(context, window, modality)):
        asked = Encoded(modality.name, planned.num_distinct, planned.texts.num_rows)
        with crash_point("encoded"), partitions.write_file(_record(context, window, modality)) as file:
            file.write(json.dumps(asdict(asked)).encode())
    return _encode_new(planned, encode_texts, modality.name, progress, vectors)


def encode_files(
    context: WritableContext,
    files: Sequence[EventFile],
    encode_texts: EncodeTexts,
    label: str,
    progress: Progress = no_progress,
    vectors: TextVectors | None = None,
) -> Encoded:
    """Encode the texts of event files that nobody has encoded before."""
    vectors = vectors or text_vectors(context)
    return _encode_new(find_new_texts(files, vectors), encode_texts, label, progress, vectors)


def _encode_new(
    found: NewTexts, encode_texts: EncodeTexts, label: str, progress: Progress, vectors: TextVectors
) -> Encoded:
    watch = Stopwatch()
    # Another attempt may have encoded some since.
    vectors.refresh()
    texts = found.texts.filter(vectors.unknown(found.texts["text_id"].combine_chunks()))
    for start in range(0, texts.num_rows, SEGMENT_TEXTS):
        progress(f"encoding {label}", start, texts.num_rows)
        segment = texts.slice(start, SEGMENT_TEXTS)
        made = encode_texts(segment["text"].to_pylist())
        with crash_point("texts"):
            vectors.append(segment["text_id"].to_pylist(), made)
    logger.info("encoded %d of %d texts of %s, %.1f s", texts.num_rows, found.num_distinct, label, watch.seconds)
    return Encoded(label, found.num_distinct, texts.num_rows)


def encoded_before(context: Context, window: Window, modality: Modality) -> Encoded:
    """What the first attempt at encoding the window's texts had to do; nothing if there was none."""
    path = _record(context, window, modality)
    if not partitions.exists(path):
        return Encoded(modality.name, 0, 0)
    fs, inner = partitions.filesystem(path)
    return Encoded(**json.loads(fs.cat_file(inner)))


def _record(context: Context, window: Window, modality: Modality) -> str:
    return context.layout.encoded_file(modality.name, window.ds)
