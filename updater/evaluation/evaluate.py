"""`updater model evaluate`: how much the embeddings of a model know, compared with what is simpler."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from updater.config_file import nearest
from updater.encoders.config import ENCODERS
from updater.errors import ConfigError
from updater.evaluation.evaluation_set import evaluate_systems, load_evaluation_set
from updater.evaluation.figures import Points, draw, needed
from updater.evaluation.html import render
from updater.evaluation.metrics import Predictions
from updater.evaluation.paraphrases import paraphrased_tasks, score_paraphrases
from updater.evaluation.report import Json, beside_gate, gate, make_paraphrases, make_report
from updater.evaluation.scoring import TaskRows
from updater.evaluation.systems.compared import BASELINES, OF_CANDIDATE, SYSTEMS, Candidate, System, embedding_rows
from updater.evaluation.systems.controls import has_control
from updater.evaluation.systems.encoders import encoder_systems
from updater.evaluation.systems.vectors import VectorsFactory
from updater.labels.events import open_events
from updater.labels.tasks import Task, question
from updater.lake import partitions
from updater.model.checkpoint import load_model
from updater.pipeline.versions.registry import check_model, model_version
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.model_files import version_directory
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.store.scratch import Scratch
from updater.training.fitted import can_fit


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found and where it wrote it."""

    report_file: str
    """report.json; report.html lies beside it."""
    model: str
    gate: list[str]
    """Why the model should not go live; empty if it may."""
    beside: list[str]
    """What plain counts achieve; it decides nothing."""
    report: Json


def evaluate(
    context: WritableContext,
    pool: ProcessPool,
    model: str | None = None,
    *,
    version: int | None = None,
    systems: Sequence[str] = (),
    split: str = "test",
    output: str | None = None,
    progress: Progress = no_progress,
    models: Mapping[str, str] | None = None,
    external: Mapping[str, VectorsFactory] | None = None,
    about: Mapping[str, str] | None = None,
) -> Evaluated:
    """Evaluate a model on the tasks of `[evaluation]`, and write report.json and report.html.

    Args:
        context: the deployment; days that it has not processed are landed and encoded, its windows stay as they are.
        pool: what computes.
        model: directory of the model; the live one if left out.
        version: instead of a directory, the number of a model version.
        systems: what is compared; if empty, all but the encoders that would have to be pre-trained first.
        split: `test`, or `validation` for looking without using up the test.
        output: directory of the report; `<state>/evaluation` if left out.
        progress: called as work is done.
        models: directories of further models by the names of their systems; they are asked without soft prompts.
        external: what computes the vectors of systems that are none of this project, by name.
        about: what the `models` and `external` systems are, for the page.

    Raises:
        ConfigError: `[evaluation]` is incomplete, or a task does not fit the lake.
        NotLandedError: a day that a feature or a label needs has not landed.
    """
    settings = context.settings
    names = _names(context, systems, version, model)
    candidate, model_name = None, "baselines"
    if models or {*OF_CANDIDATE, "live"} & {*names}:
        candidate, model_name = _candidate(context, version, model, models or {})
    names = [name for name in names if name != "live" or (candidate is not None and candidate.live)]
    if candidate is not None:
        of_candidate = load_model(candidate.directory)
        names = [name for name in names if has_control(name, of_candidate)]
    needed()
    with open_events(context, progress) as events, Scratch(settings) as scratch:
        progress("labels", 0, 1)
        evaluation_set = load_evaluation_set(events, split)
        rounds = paraphrased_tasks(settings, evaluation_set.tasks) if candidate and "base" in names else []
        encoders = [name for name in ENCODERS if name in systems]
        others = {**encoder_systems(context, pool, encoders, evaluation_set.days, progress), **(external or {})}
        compared, scored = evaluate_systems(
            context, pool, events, evaluation_set, candidate, names, scratch, progress, others
        )
        zero_shot = (
            zero_shot_scores(settings, candidate, compared, evaluation_set.tasks, evaluation_set.rows)
            if candidate
            else {}
        )
        points = (
            _points(settings, candidate, compared, evaluation_set.tasks, evaluation_set.rows) if candidate else None
        )
        paraphrased = []
        if candidate and rounds:
            paraphrased = score_paraphrases(
                context,
                pool,
                rounds,
                evaluation_set.rows,
                candidate,
                evaluation_set.days,
                scored["base"],
                scratch,
                progress,
            )
    draws, seed = settings.evaluation.bootstrap, settings.model.seed
    report = make_report(evaluation_set.tasks, scored, zero_shot, draws, seed)
    if paraphrased:
        report["paraphrases"] = make_paraphrases(rounds, scored["base"], paraphrased, draws, seed)
    directory = output or context.layout.evaluation()
    reasons, shown = gate(report), beside_gate(report)
    report |= {"model": model_name, "split": split, "gate": reasons}
    file, text = partitions.join(directory, "report.json"), json.dumps(report, indent=1, allow_nan=False) + "\n"
    _write(file, text)
    if candidate is not None and split == "test":
        _write(context.layout.model_evaluation(candidate.digest), text)
    picture = draw(points) if points else None
    page = render(report, reasons, shown, model_name, evaluation_set.anchors, split, picture, about)
    _write(partitions.join(directory, "report.html"), page)
    return Evaluated(file, model_name, reasons, shown, report)


def _candidate(
    context: Context, version: int | None, directory: str | None, models: Mapping[str, str]
) -> tuple[Candidate, str]:
    """The model in `directory`, else that version, else the live one, and its name. Raises ConfigError."""
    live = context.ledger.live_model()
    if directory:
        digest, path = check_model(context.settings, Path(directory).resolve()), directory
        # A model that is no version yet is known by its directory.
        known = [record.name for record in context.ledger.models() if record.digest == digest]
        name = known[0] if known else Path(directory).resolve().name
    else:
        record = model_version(context, version) if version is not None else context.live_model()
        digest, path, name = record.digest, version_directory(context, record), record.name
    other = live is not None and live.digest != digest
    return Candidate(path, version_directory(context, live) if live is not None and other else "", models), name


def zero_shot_scores(
    settings: Settings,
    candidate: Candidate,
    systems: Sequence[System],
    tasks: Sequence[Task],
    rows: Mapping[str, TaskRows],
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
    rows: Mapping[str, TaskRows],
) -> Points | None:
    """Embeddings of a scenario before and after tuning; of a model without soft prompts, before and after training."""
    known = {system.name: system for system in systems}
    scenarios = load_model(candidate.directory).tuned_scenarios
    tuned = [task for task in tasks if question(settings, task).scenario in scenarios]
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


def _names(context: Context, systems: Sequence[str], version: int | None, directory: str | None) -> list[str]:
    """What is compared beside encoders, in the order of the reports; by default all that there can be.

    Raises:
        ConfigError: there is no such system, or it takes a model and there is none.
    """
    known = (*SYSTEMS, *ENCODERS)
    if wrong := [name for name in systems if name not in known]:
        raise ConfigError(f"system {wrong[0]!r} is unknown{nearest(wrong[0], known)}")
    names = [name for name in SYSTEMS if name in systems or not systems]
    live = context.ledger.live_model()
    if "live" in systems and (live is None or (directory is None and version in (None, live.version))):
        raise ConfigError("system 'live' is the live model beside another one; name that with --model or --version.")
    if {*OF_CANDIDATE} & {*names} and live is None and directory is None:
        raise ConfigError(
            "No model is live; name one with --model, run `updater init`, or choose --systems that take no model: "
            f"{', '.join(('text', *BASELINES, *ENCODERS))}."
        )
    # Nothing can be fitted without training data, and then nothing was trained.
    if "fitted" in names and not can_fit(context):
        if systems:
            raise ConfigError(
                "system 'fitted' is fitted to training data; run `updater model train --build-data` first."
            )
        names.remove("fitted")
    return names


def _write(path: str, text: str) -> None:
    with partitions.write_file(path) as file:
        file.write(text.encode("utf-8"))
