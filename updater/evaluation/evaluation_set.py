"""What systems are evaluated on, and their scores: label tasks, their anchor days and their rows."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from updater.domain.window import day_window, first_buffer_day
from updater.errors import ConfigError
from updater.evaluation.scoring import Scores, TaskRows, part_rows, score_system
from updater.evaluation.systems.compared import (
    CONCATENATED,
    Candidate,
    System,
    baseline_systems,
    concatenated_system,
    embedders,
    embedding_systems,
    publish_recency,
    recency_system,
)
from updater.evaluation.systems.embedding import Embedder, embed, measured_cost
from updater.evaluation.systems.vectors import VectorsFactory, vector_system
from updater.labels.events import Events
from updater.labels.known import known_at, read_labels
from updater.labels.split import Split
from updater.labels.tasks import Task, read_task_file, read_tasks
from updater.pipeline.daily.intake.prefetch import land_and_encode
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

    @property
    def days(self) -> list[date]:
        """Anchor days of all parts, in order."""
        return sorted({*self.anchors.train, *self.anchors.validation, *self.anchors.test})


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
    external: Mapping[str, VectorsFactory] | None = None,
) -> tuple[list[System], dict[str, Scores]]:
    """The systems `names`, in that order, and their scores; days that are not there yet are landed and encoded.

    After them come the further `models` of the candidate and the external systems. Features can be read as long as
    `scratch` is open.
    """
    settings, external = context.settings, external or {}
    models = candidate.models if candidate else {}
    parts = {part for name in names for part in CONCATENATED.get(name, ())}
    needed = [*names, *(part for part in parts if part not in names)]
    made = embedders(context, evaluation_set.tasks, candidate, needed, scratch, progress)
    chosen = {name: made[name] for name in (*needed, *models) if name in made}
    days = evaluation_set.days
    if chosen or external or "recency" in names:
        # The file of any embedder has the column for recency.
        any_file = next(iter(chosen.values()), Embedder())
        land_and_encode(context, pool, first_buffer_day(days[0], settings.buffer.days), days[-1], progress)
        embed(context, pool, list(dict.fromkeys([any_file, *chosen.values()])), days, progress)
        publish_recency(context, any_file, days, scratch)
    systems = embedding_systems(context, chosen, days, scratch)
    if "recency" in names:
        systems.append(recency_system(settings, scratch, measured_cost(context, any_file, days, recency_alone=True)))
    amounts = read_task_file(settings.evaluation.tasks).amounts
    systems += baseline_systems(events, needed, amounts, evaluation_set.anchors.train, days)
    known = {system.name: system for system in systems}
    known |= {
        name: concatenated_system(name, [known[part] for part in CONCATENATED[name]])
        for name in names
        if name in CONCATENATED
    }
    known |= {name: vector_system(settings, name, make(), scratch) for name, make in external.items()}
    systems = [known[name] for name in (*names, *models, *external)]
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
