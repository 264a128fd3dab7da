"""Which values of text columns are asked about: the common ones, by what had landed by a day."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import duckdb

from updater.domain.declared.modality import Modality
from updater.settings import Settings
from updater.state.event_store import EventFile, scan
from updater.training.dense.labels.questions import Column
from updater.training.dense.labels.text_columns import parse_column
from updater.training.useru.facts.events import EventReader


def common_values(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    files: Mapping[str, Sequence[EventFile]],
    last: date,
) -> dict[Column, list[str]]:
    """Per text column of a stream the values that landed up to `last`, the most frequent first.

    Of the categories as many as `training.focus_categories`, over all streams. A column of a template counts if it is
    coarser: it has fewer values than the category, and no more than that number.
    """
    most = settings.training.focus_categories
    streams = [modality for modality in settings.modalities if modality.kind == "stream"]
    names = {modality.name: modality.category for modality in streams}
    categories = [pair for pair in EventReader(connection, settings, files).categories(last) if pair[0] in names]
    found: dict[Column, list[str]] = {}
    for modality, category in categories[:most]:
        found.setdefault((modality, names[modality]), []).append(category)
    for stream in streams:
        known = sum(modality == stream.name for modality, _ in categories)
        limit = min(most, known - 1) if stream.category else most
        for column in _text_columns(stream):
            values = _values(connection, stream, files.get(stream.name, ()), column, last)
            if 0 < len(values) <= limit:
                found[stream.name, column] = values
    return found


def _text_columns(modality: Modality) -> list[str]:
    """Columns of the template beside the category; a rounded number or a numeric column is none."""
    rounded = {column for column, _ in modality.rounded_columns}
    return [c for c in modality.text_columns if c not in {modality.category, *modality.numeric, *rounded}]


def _values(
    connection: duckdb.DuckDBPyConnection, modality: Modality, files: Sequence[EventFile], column: str, last: date
) -> list[str]:
    bound: dict[str, Any] = {}
    landed = scan("events", [file for file in files if file.ds <= last], bound)
    if not landed:
        return []
    rows = connection.execute(
        f"select text, count(*) from ({landed}) where not deleted and text is not null group by text", bound
    ).fetchall()
    counts: Counter[str] = Counter()
    for value, (_, number) in zip(parse_column(modality, column, [text for text, _ in rows]), rows, strict=True):
        if value is not None:
            counts[value] += number
    return sorted(counts, key=lambda value: (-counts[value], value))
