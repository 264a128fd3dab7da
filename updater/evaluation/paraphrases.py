"""Paraphrases of the tasks' questions: how much of what an embedding knows depends on the wording.

A task file has them by task:

    [paraphrases]
    lapse_28d = ["Who is about to leave us?", "Will this household stay away for a month?"]

The first paraphrases of all tasks are evaluated together, then the second ones, and so on: each takes the place of the
wording in the rows that the probe is fitted to as in those that are reported.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date

from updater.config_file import nearest
from updater.errors import ConfigError
from updater.evaluation.scoring import Scores, TaskRows, score_system
from updater.evaluation.systems.compared import Candidate, embedding_systems
from updater.evaluation.systems.embedding import Embedder, embed
from updater.labels.tasks import Question, Task, read_task_file
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.store.scratch import Scratch

NAME = "paraphrased"


def paraphrased_tasks(settings: Settings, tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks with their first paraphrase, those with a second one with that, up to `evaluation.paraphrases`.

    Raises:
        ConfigError: a paraphrase belongs to no task.
    """
    path = settings.evaluation.tasks
    wordings = read_task_file(path).paraphrases
    names = [task.name for task in tasks]
    if wrong := [name for name in wordings if name not in names]:
        raise ConfigError(f"paraphrases.{wrong[0]} of {path} belongs to no task{nearest(wrong[0], names)}")
    count = min(settings.evaluation.paraphrases, max(map(len, wordings.values()), default=0))
    return [
        [
            dataclasses.replace(task, query=wordings[task.name][number])
            for task in tasks
            if number < len(wordings.get(task.name, ()))
        ]
        for number in range(count)
    ]


def score_paraphrases(
    context: WritableContext,
    pool: ProcessPool,
    rounds: Sequence[Sequence[Task]],
    rows: Mapping[str, TaskRows],
    candidate: Candidate,
    anchors: Sequence[date],
    base: Scores,
    scratch: Scratch,
    progress: Progress = no_progress,
) -> list[Scores]:
    """Scores of the candidate without soft prompts on each of `paraphrased_tasks`, with the penalty that `base` has.

    The days since the newest event have to be published.
    """
    questions = dict.fromkeys(Question(task.query) for tasks in rounds for task in tasks)
    if not questions:
        return []
    embedder = Embedder(candidate.directory, candidate.digest, tuple(questions))
    embed(context, pool, [embedder], anchors, progress)
    [system] = embedding_systems(context, {NAME: embedder}, anchors, scratch)
    return [score_system(pool, system, tasks, rows, progress, base.penalty) for tasks in rounds]
