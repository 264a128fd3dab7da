"""Labels through the feature store: nobody learns from an answer that was not known yet."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain import columns
from updater.evaluation.events import Events
from updater.evaluation.tasks import Task, known_at, label_tables
from updater.settings import Settings
from updater.store.scratch import Scratch

INSTANT = pa.timestamp("us", "UTC")
_VIEW = "labels"
_KEYS = (columns.JOIN_KEY, "anchor_day", "task")


def read_labels(events: Events, tasks: Sequence[Task], anchors: Iterable[date], until: datetime) -> dict[str, pa.Table]:
    """The labels of each task (`tasks.LABELS_SCHEMA`) that were known at the instant `until`.

    They are published with the end of their horizon as event timestamp, and joined as of `until`.

    Raises:
        ConfigError: a task names a modality or column that the config does not declare.
        NotLandedError: a day that a label needs has not landed.
    """
    settings = events.settings
    found = label_tables(events, tasks, anchors)
    published = pa.concat_tables(_published(settings, task, found[task.name]) for task in tasks)
    if not published.num_rows:
        return found
    asked = published.select(_KEYS).append_column(
        columns.EVENT_TIMESTAMP, pa.array([until] * published.num_rows, INSTANT)
    )
    with Scratch(settings) as scratch:
        scratch.publish(_VIEW, published, _KEYS)
        joined = scratch.point_in_time(asked, [f"{_VIEW}:label"])["label"].cast(pa.bool_())
    known: dict[str, pa.Table] = {}
    start = 0
    for task in tasks:
        labels = found[task.name]
        answers = joined.slice(start, labels.num_rows)
        start += labels.num_rows
        position = labels.schema.get_field_index("label")
        known[task.name] = labels.set_column(position, "label", answers).filter(pc.is_valid(answers))
    return known


def _published(settings: Settings, task: Task, labels: pa.Table) -> pa.Table:
    """A task's labels as rows of the view."""
    anchors: list[date] = labels["anchor"].to_pylist()
    instants = {anchor: known_at(settings, task, anchor) for anchor in set(anchors)}
    return pa.table(
        {
            columns.JOIN_KEY: labels[columns.JOIN_KEY],
            "anchor_day": labels["anchor"].cast(pa.string()),
            "task": pa.array([task.name] * len(anchors), pa.string()),
            columns.EVENT_TIMESTAMP: pa.array([instants[anchor] for anchor in anchors], INSTANT),
            "label": labels["label"],
        }
    )
