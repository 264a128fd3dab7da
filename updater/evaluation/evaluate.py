"""`updater evaluate`: how much the embeddings of a model know, compared with what is simpler."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from updater.config_file import nearest
from updater.domain.window import day_window, first_buffer_day
from updater.errors import ConfigError
from updater.evaluation.embedding import Embedder, embed
from updater.evaluation.figures import Points, needed
from updater.evaluation.html import render
from updater.evaluation.labels import read_labels
from updater.evaluation.metrics import Predictions
from updater.evaluation.report import Json, gate, make_report
from updater.evaluation.scoring import Rows, part_rows, score_system
from updater.evaluation.systems import (
    BASELINES,
    EMBEDDINGS,
    Candidate,
    System,
    baseline_systems,
    embedders,
    embedding_rows,
    embedding_systems,
    recency_system,
)
from updater.evaluation.tasks import Split, Task, known_at, question, read_task_file, read_tasks
from updater.lake import partitions
from updater.model.checkpoint import load_model
from updater.pipeline.context import Context, Progress, no_progress
from updater.pipeline.land_ahead import land_and_encode
from updater.pipeline.promote import chosen_model
from updater.pipeline.workers import Workers
from updater.settings import Settings
from updater.store.scratch import DIRECTORY, Scratch


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found and where it wrote it."""

    report_file: str
    """report.json; report.html lies beside it."""
    model: str
    gate: list[str]
    """Why the model should not go live; empty if it may."""
    report: Json


def evaluate(
    context: Context,
    workers: Workers,
    model: str | None = None,
    *,
    version: int | None = None,
    systems: Sequence[str] = (),
    split: str = "test",
    output: str | None = None,
    progress: Progress = no_progress,
) -> Evaluated:
    """Judge a model on the tasks of `[evaluation]`, and write report.json and report.html.

    Args:
        context: the deployment; days that it has not processed are landed and encoded, its windows stay as they are.
        workers: what computes.
        model: directory of the model; the live one if left out.
        version: instead of a directory, the number of a model version.
        systems: what is compared; all if empty.
        split: `test`, or `validation` for looking without using up the test.
        output: directory of the report; `<state>/evaluation` if left out.
        progress: told what is done.

    Raises:
        ConfigError: `[evaluation]` is incomplete, or a task does not fit the lake.
        NotLandedError: a day that a feature or a label needs has not landed.
    """
    settings = context.settings
    tasks, anchors = _tasks(settings), _split(settings, split)
    candidate, model_name = _candidate(context, version, model)
    names = _names(systems, candidate)
    needed()
    progress("labels", 0, len(tasks))
    rows = _rows(settings, tasks, anchors)
    every = sorted({*anchors.train, *anchors.validation, *anchors.test})
    with Scratch(settings) as scratch:
        made = embedders(settings, tasks, candidate, scratch) if {*EMBEDDINGS} & {*names} else {}
        chosen = {name: made[name] for name in names if name in made}
        if "recency" in names:
            # Its file has the column that it needs.
            chosen = chosen or {"text": Embedder()}
        if chosen:
            land_and_encode(context, workers, first_buffer_day(every[0], settings.buffer.days), every[-1], progress)
            embed(context, workers, list(dict.fromkeys(chosen.values())), every, progress)
        compared = embedding_systems(context, chosen, every, scratch) if chosen else []
        compared = [system for system in compared if system.name in names]
        if "recency" in names:
            compared.append(recency_system(settings, scratch))
        amounts = read_task_file(settings.evaluation.tasks).amounts
        compared += baseline_systems(settings, names, amounts, anchors.train, every)
        compared.sort(key=lambda system: names.index(system.name))
        scored = {system.name: score_system(workers, system, tasks, rows, progress) for system in compared}
        zero_shot = zero_shot_scores(settings, candidate, compared, tasks, rows)
        points = _points(settings, candidate, compared, tasks, rows)
    report = make_report(tasks, scored, zero_shot, settings.evaluation.bootstrap, settings.model.seed)
    directory = output or context.state(DIRECTORY)
    reasons = gate(report)
    file = partitions.join(directory, "report.json")
    _write(file, json.dumps(report, indent=1, allow_nan=False) + "\n")
    page = render(report, reasons, model_name, anchors, split, points)
    _write(partitions.join(directory, "report.html"), page)
    return Evaluated(file, model_name, reasons, report)


def _candidate(context: Context, version: int | None, directory: str | None) -> tuple[Candidate, str]:
    """The model in `directory`, else that version, else the live one, and its name. Raises ConfigError."""
    live = context.live_model()
    number = live.version if version is None else version
    record = chosen_model(context, None if directory else number, directory, dry_run=True)
    path = directory or context.model_directory(record.version)
    return Candidate(path, "" if record.digest == live.digest else context.model_directory(live.version)), record.name


def zero_shot_scores(
    settings: Settings,
    candidate: Candidate,
    systems: Sequence[System],
    tasks: Sequence[Task],
    rows: Mapping[str, Rows],
) -> dict[str, Predictions]:
    """Scores of the unseen tasks without a label of theirs: how much nearer a user is to the family's prototype of a
    yes than to that of a no, for models that keep prototypes of their soft prompts.
    """
    tuned = next((system for system in systems if system.name == "tuned"), None)
    prototypes = getattr(load_model(candidate.directory), "prototypes", {}) if tuned else {}
    scores = {}
    for task in tasks:
        scenario = question(settings, task).scenario
        if tuned is None or not task.unseen or scenario not in prototypes:
            continue
        one = rows[task.name]
        no, yes = prototypes[scenario].detach().numpy()[:2].astype(float)
        embeddings = embedding_rows(tuned, task, one.table.filter(one.test))
        scores[task.name] = Predictions(one.user[one.test], one.label[one.test], embeddings @ (yes - no))
    return scores


def _points(
    settings: Settings,
    candidate: Candidate,
    systems: Sequence[System],
    tasks: Sequence[Task],
    rows: Mapping[str, Rows],
) -> Points | None:
    """Embeddings of a scenario before and after tuning; of a model without soft prompts, before and after training."""
    known = {system.name: system for system in systems}
    prompts = load_model(candidate.directory).soft_prompts
    tuned = [task for task in tasks if question(settings, task).scenario in prompts]
    before, after = ("base", "tuned") if tuned else ("untrained", "base")
    if before not in known or after not in known:
        return None
    task = (tuned or list(tasks))[0]
    one = rows[task.name]
    newest = one.table.filter(one.test)
    return Points(
        task.name,
        one.label[one.test],
        {name: embedding_rows(known[name], task, newest) for name in (before, after)},
    )


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


def _names(systems: Sequence[str], candidate: Candidate) -> list[str]:
    every = [name for name in (*EMBEDDINGS, *BASELINES) if name != "live" or candidate.live]
    if wrong := [name for name in systems if name not in every]:
        raise ConfigError(f"system {wrong[0]!r} is unknown{nearest(wrong[0], every)}")
    return [name for name in every if name in systems] if systems else every


def _rows(settings: Settings, tasks: Sequence[Task], anchors: Split) -> dict[str, Rows]:
    """The labels of each part as they were known when the next part begins, those of the last one at its end."""
    parts = [days for days in (anchors.train, anchors.validation, anchors.test) if days]
    begins = [day_window(min(days), settings.timezone).as_of for days in parts[1:]]
    ends = max(known_at(settings, task, day) for task in tasks for day in parts[-1])
    read = [read_labels(settings, tasks, days, until) for days, until in zip(parts, [*begins, ends], strict=True)]
    labels = {task.name: pa.concat_tables([part[task.name] for part in read]) for task in tasks}
    return part_rows(labels, anchors.train, anchors.validation, anchors.test)


def _write(path: str, text: str) -> None:
    with partitions.write_file(path) as file:
        file.write(text.encode("utf-8"))
