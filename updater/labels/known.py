"""The labels that were known at an instant: nobody learns from an answer that was not known yet."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from updater.domain.window import day_window
from updater.labels.events import Events
from updater.labels.tables import label_tables
from updater.labels.tasks import Task
from updater.settings import Settings


def known_at(settings: Settings, task: Task, anchor: date) -> datetime:
    """The first instant at which a task's labels of an anchor are known: the end of its horizon."""
    return day_window(anchor + timedelta(days=task.rule.horizon_days), settings.timezone).as_of


def read_labels(events: Events, tasks: Sequence[Task], anchors: Iterable[date], until: datetime) -> dict[str, pa.Table]:
    """The labels of each task (`tables.LABELS_SCHEMA`) that were known at the instant `until`.

    Raises:
        ConfigError: a task names a modality or column that the config does not declare.
        NotLandedError: a day that a label needs has not landed.
    """
    days = sorted(set(anchors))
    found = label_tables(events, tasks, days)
    return {task.name: _known(found[task.name], task, days, until, events.settings) for task in tasks}


def _known(labels: pa.Table, task: Task, anchors: Sequence[date], until: datetime, settings: Settings) -> pa.Table:
    """All labels of an anchor are known at once, when its horizon ends."""
    known = [anchor for anchor in anchors if known_at(settings, task, anchor) <= until]
    return labels.filter(pc.is_in(labels["anchor"], pa.array(known, pa.date32())))
