"""Labels as tables: the answers of tasks at their anchors, computed from the events."""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import date

import pyarrow as pa

from updater.domain.window import Window, day_window
from updater.labels.definitions import Kind, RequiredColumns
from updater.labels.events import Events
from updater.labels.tasks import Task

LABELS_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("anchor", pa.date32()),
        ("event_timestamp", pa.timestamp("us", "UTC")),
        ("label", pa.bool_()),
    ]
)
"""`anchor` is the last day that is known; `event_timestamp` its end, which makes the table one that Feast can join."""


def label_tables(events: Events, tasks: Sequence[Task], anchors: Iterable[date]) -> dict[str, pa.Table]:
    """The labels of each task: a row for every eligible user at every anchor (`LABELS_SCHEMA`), sorted by both.

    Eligibility is decided by days up to the anchor, the label by the days after it.

    Raises:
        ConfigError: a task names a modality or column that the config does not declare.
        NotLandedError: a day that a label needs has not landed.
    """
    parts: dict[str, list[pa.Table]] = {task.name: [] for task in tasks}
    for ds in sorted(set(anchors)):
        anchor = day_window(ds, events.settings.timezone)
        _load(events, [task.rule for task in tasks], anchor)
        for task in tasks:
            sql, parameters = task.rule.query()
            found = events.connection.execute(f"select user_id, label from ({sql}) order by user_id", parameters)
            parts[task.name].append(_table(found.to_arrow_table(), anchor))
    return {name: pa.concat_tables(tables) if tables else LABELS_SCHEMA.empty_table() for name, tables in parts.items()}


def _table(found: pa.Table, anchor: Window) -> pa.Table:
    return pa.table(
        {
            "user_id": found["user_id"],
            "anchor": pa.array([anchor.ds] * found.num_rows, pa.date32()),
            "event_timestamp": pa.array([anchor.as_of] * found.num_rows, pa.timestamp("us", "UTC")),
            "label": found["label"],
        }
    ).cast(LABELS_SCHEMA)


def _load(events: Events, rules: Sequence[Kind], anchor: Window) -> None:
    for read in _merged(read for rule in rules for read in rule.past()):
        events.load_past(read.modality, anchor, read.num_days, read.columns)
    for read in _merged(read for rule in rules for read in rule.next()):
        events.load_next(read.modality, anchor, read.num_days, read.columns)


def _merged(reads: Iterable[RequiredColumns]) -> list[RequiredColumns]:
    """One read for each modality that covers all of them."""
    merged: dict[str, RequiredColumns] = {}
    for read in reads:
        known = merged.get(read.modality, RequiredColumns(read.modality, 0))
        columns = tuple(sorted({*known.columns, *read.columns}))
        merged[read.modality] = dataclasses.replace(known, num_days=max(known.num_days, read.num_days), columns=columns)
    return list(merged.values())
