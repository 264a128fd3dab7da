"""What systems are evaluated on, and their scores: label tasks, their anchor days and their rows."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from updater.domain.window import day_window, first_buffer_day
from updater.errors import ConfigError
from updater.evaluation.embedding import Embedder, embed
from updater.evaluation.scoring import Scores, TaskRows, part_rows, score_system
from updater.evaluation.systems import (
    Candidate,
    System,
    baseline_systems,
    embedders,
    embedding_systems,
    recency_system,
)
from updater.labels.events import Events
from updater.labels.known import known_at, read_labels
from updater.labels.split import Split
from updater.labels.tasks import Task, read_task_file, read_tasks
from updater.pipeline.daily.prefetch import land_and_encode
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.store.scratch import Scratch


@dataclass(frozen=True)
class EvaluationSet:
    """The tasks of `[evaluation]`, on its anchor days."""

    tasks: list[Task]
    anchors: Split
    rows: Mapping[str, TaskRows]
    """By task."""


def load_evaluation_set(events: Events, split: str = "test") -> EvaluationSet:
    """Compute the labels.

    Args:
        events: the deployment's.
        split: what is reported: `test`, or `validation`, of which nothing may choose a penalty then.

    Raises:
        ConfigError: `[evaluation]` is incomplete, or a task does not fit the lake.
        NotLandedError: a day that a label needs has not landed.
    """
    tasks, anchors = _tasks(events.settings), _split(events.settings, split)
    return EvaluationSet(tasks, anchors, _rows(events, tasks, anchors))


def evaluate_systems(
    context: WritableContext,
    pool: ProcessPool,
    events: Events,
    evaluation_set: EvaluationSet,
    candidate: Candidate | None,
    names: Sequence[str],
    scratch: Scratch,
    progress: Progress = no_progress,
) -> tuple[list[System], dict[str, Scores]]:
    """The systems `names`, in that order, and their scores; days that are not there yet are landed and encoded.

    Features can be read from the systems as long as `scratch` is open.
    """
    settings, anchors = context.settings, evaluation_set.anchors
    every = sorted({*anchors.train, *anchors.validation, *anchors.test})
    made = embedders(context, evaluation_set.tasks, candidate, names, scratch, progress)
    chosen = {name: made[name] for name in names if name in made}
    if "recency" in names:
        # Its file has the column that it needs.
        chosen = chosen or {"text": Embedder()}
    if chosen:
        land_and_encode(context, pool, first_buffer_day(every[0], settings.buffer.days), every[-1], progress)
        embed(context, pool, list(dict.fromkeys(chosen.values())), every, progress)
    systems = embedding_systems(context, chosen, every, scratch) if chosen else []
    systems = [system for system in systems if system.name in names]
    if "recency" in names:
        systems.append(recency_system(settings, scratch))
    amounts = read_task_file(settings.evaluation.tasks).amounts
    systems += baseline_systems(events, names, amounts, anchors.train, every)
    systems.sort(key=lambda system: names.index(system.name))
    return systems, {
        s.name: score_system(pool, s, evaluation_set.tasks, evaluation_set.rows, progress) for s in systems
    }


def _tasks(settings: Settings) -> list[Task]:
    if not settings.evaluation.tasks:
        raise ConfigError(f"evaluation.tasks of {settings.source} is empty; name a file, as configs/quality.toml does.")
    tasks = read_tasks(settings.evaluation.tasks)
    if not tasks:
        raise ConfigError(f"{settings.evaluation.tasks} declares no task; add a [[tasks]] table.")
    for task in tasks:
        if task.rule.horizon_days > settings.evaluation.horizon_days:
            raise ConfigError(
                f"task {task.name!r} looks {task.rule.horizon_days} days ahead; evaluation.horizon_days is "
                f"{settings.evaluation.horizon_days}, raise it."
            )
    return tasks


def _split(settings: Settings, part: str) -> Split:
    chosen = settings.evaluation
    reported = chosen.test if part == "test" else chosen.validation
    for name, days in (("train", chosen.train), (part, reported)):
        if not days:
            raise ConfigError(f"evaluation.{name} of {settings.source} is empty; give anchor days.")
    whole = Split(train=chosen.train, validation=chosen.validation, test=chosen.test, horizon_days=chosen.horizon_days)
    # What is reported must not choose the penalty as well.
    return whole if part == "test" else dataclasses.replace(whole, validation=(), test=reported)


def _rows(events: Events, tasks: Sequence[Task], anchors: Split) -> dict[str, TaskRows]:
    """The labels of each part as they were known when the next part begins, those of the last one at its end."""
    settings = events.settings
    parts = [days for days in (anchors.train, anchors.validation, anchors.test) if days]
    begins = [day_window(min(days), settings.timezone).as_of for days in parts[1:]]
    ends = max(known_at(settings, task, day) for task in tasks for day in parts[-1])
    read = [read_labels(events, tasks, days, until) for days, until in zip(parts, [*begins, ends], strict=True)]
    labels = {task.name: pa.concat_tables([part[task.name] for part in read]) for task in tasks}
    return part_rows(labels, anchors.train, anchors.validation, anchors.test)
