"""`updater evaluate`: how much the embeddings of a model know, compared with what is simpler."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from updater.config_file import nearest
from updater.errors import ConfigError
from updater.evaluation.exam import read_exam, sit_exam
from updater.evaluation.figures import Points, needed
from updater.evaluation.html import render
from updater.evaluation.metrics import Predictions
from updater.evaluation.report import Json, gate, make_report
from updater.evaluation.scoring import Rows
from updater.evaluation.systems import (
    BASELINES,
    EMBEDDINGS,
    Candidate,
    System,
    embedding_rows,
)
from updater.evaluation.tasks import Task, question
from updater.lake import partitions
from updater.model.checkpoint import load_model
from updater.pipeline.context import Context, Progress, no_progress
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
    candidate, model_name = _candidate(context, version, model)
    names = _names(systems, candidate)
    needed()
    progress("labels", 0, 1)
    exam = read_exam(settings, split)
    with Scratch(settings) as scratch:
        compared, scored = sit_exam(context, workers, exam, candidate, names, scratch, progress)
        zero_shot = zero_shot_scores(settings, candidate, compared, exam.tasks, exam.rows)
        points = _points(settings, candidate, compared, exam.tasks, exam.rows)
    report = make_report(exam.tasks, scored, zero_shot, settings.evaluation.bootstrap, settings.model.seed)
    directory = output or context.state(DIRECTORY)
    reasons = gate(report)
    file = partitions.join(directory, "report.json")
    _write(file, json.dumps(report, indent=1, allow_nan=False) + "\n")
    page = render(report, reasons, model_name, exam.anchors, split, points)
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


def _names(systems: Sequence[str], candidate: Candidate) -> list[str]:
    every = [name for name in (*EMBEDDINGS, *BASELINES) if name != "live" or candidate.live]
    if wrong := [name for name in systems if name not in every]:
        raise ConfigError(f"system {wrong[0]!r} is unknown{nearest(wrong[0], every)}")
    return [name for name in every if name in systems] if systems else every


def _write(path: str, text: str) -> None:
    with partitions.write_file(path) as file:
        file.write(text.encode("utf-8"))
