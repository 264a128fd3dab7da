"""`updater model tune`: the soft prompt of a scenario, out of the answers of its label tasks that are known by then."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from updater.domain.buckets import HELD_OUT, is_held_out
from updater.domain.fingerprint import fingerprint
from updater.domain.window import first_buffer_day
from updater.errors import ConfigError, NotFoundError
from updater.labels.events import open_events
from updater.labels.known import read_labels
from updater.labels.tasks import Task, question, read_tasks
from updater.lake import partitions
from updater.model.checkpoint import load_model, model_digest, save_model
from updater.pipeline.daily.intake.prefetch import land_and_encode
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress, open_writable
from updater.runtime.device import model_device
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.training.profiles import Profiles, read_all
from updater.training.runs import training_layout
from updater.training.tuning.labelled_users import Labels
from updater.training.tuning.prompt_tuning import PromptTuner

PROMPT, SHIFT, CENTRES = "prompt", "question_shifts", "prototypes"


@dataclass(frozen=True)
class TuneReport:
    """A tuned scenario."""

    scenario: str
    prompt: str
    """The file with the prompt and the prototypes."""
    tasks: int
    labels: int
    loss: float
    """Mean over the last steps."""
    chance: float
    """The same loss of somebody who knows nothing but how common each answer is."""
    kept: bool
    """False if the plain question did as well for users who were not learned from, so that there is no prompt."""


def tunable_scenarios(settings: Settings) -> list[str]:
    """Names of soft prompts that some label task of the config trains, in the tasks' order."""
    trained = [task for task in _tasks(settings) if not task.unseen]
    return list(dict.fromkeys(name for task in trained for name in (task.scenario, task.shared_scenario) if name))


def tune_scenarios(
    context: WritableContext, pool: ProcessPool, model: str, scenarios: Sequence[str], progress: Progress = no_progress
) -> list[TuneReport]:
    """Tune scenarios on a frozen model, each on all of its tasks that may be trained on, and write their prompts.

    Labels are those of the evaluation's training anchors that were known by the last of them plus its horizon; a fifth
    of the users (`is_held_out`) is left out. A prompt that is there already is left alone. Days before the last anchor
    that no window has processed are landed and encoded.

    Raises:
        NotFoundError: a scenario has no label task.
        ConfigError: a scenario has labels of one class only, or no anchor day is named.
        NotLandedError: a day that an anchor's buffer needs has not landed.
    """
    for scenario in scenarios:
        _tasks_of(context.settings, scenario)
    missing = [scenario for scenario in scenarios if not _prompt_file(context, model, scenario).exists()]
    if missing:
        anchors = _anchors(context.settings)
        first = first_buffer_day(min(anchors), context.settings.buffer.days)
        land_and_encode(context, pool, first, max(anchors), progress)
    # A process reads users and computes their prefixes once for all of its scenarios.
    groups = [missing[start :: pool.num_processes] for start in range(min(pool.num_processes, len(missing)))]
    jobs = [(context.settings, context.now, model, group) for group in groups]
    progress("tuning scenarios", 0, len(missing))
    done = 0
    for index, _ in pool.map(tune_group, jobs):
        done += len(groups[index])
        progress("tuning scenarios", done, len(missing))
    return [_report(_prompt_file(context, model, scenario)) for scenario in scenarios]


def tune_group(settings: Settings, now: datetime, model: str, scenarios: Sequence[str]) -> None:
    """Tune some scenarios in this process, and write the prompt of each as soon as it is learned."""
    context = open_writable(settings, now)
    anchors = _anchors(settings)
    chosen = {scenario: _tasks_of(settings, scenario) for scenario in scenarios}
    # A task may train a prompt of its own and a shared one.
    tasks = {task.name: task for scenario in scenarios for task in chosen[scenario]}
    with open_events(context) as events:
        labels = read_labels(events, list(tasks.values()), anchors, _known_by(context, anchors))
    profiles = read_all(context, sorted(anchors))
    loaded = load_model(model).to(model_device(settings))
    tuner = PromptTuner(loaded, profiles, settings.tuning)
    for scenario in scenarios:
        made = _labels(profiles, chosen[scenario], labels, settings)
        tuned = tuner.tune(scenario, made, settings.training.seed)
        path = _prompt_file(context, model, scenario)
        learned = {PROMPT: loaded.soft_prompts, SHIFT: loaded.question_shifts, CENTRES: loaded.prototypes}
        tensors = {name: values[scenario].data for name, values in learned.items() if scenario in values}
        num_labels = min(len(made.rows), settings.tuning.labels or len(made.rows))
        report = TuneReport(
            scenario, str(path), len(chosen[scenario]), num_labels, tuned.loss, _chance(made), tuned.kept
        )
        with partitions.write_file(str(path)) as file:
            file.write(save(tensors, {"report": json.dumps(asdict(report))}))


def join_prompts(context: Context, model: str) -> str:
    """Write the model together with all prompts that were tuned on it under this config. Returns the directory."""
    loaded = load_model(model)
    prompts = _prompt_directory(context, model)
    learned = {PROMPT: loaded.soft_prompts, SHIFT: loaded.question_shifts, CENTRES: loaded.prototypes}
    for path in sorted(prompts.glob("*.safetensors")):
        for name, values in load_file(path).items():
            learned[name][path.stem] = nn.Parameter(values)
    target = Path(training_layout(context).trained_model(f"{Path(model).name}-tuned-{prompts.name}"))
    save_model(loaded, target)
    return str(target)


def _tasks(settings: Settings) -> list[Task]:
    if not settings.evaluation.tasks:
        raise ConfigError(f"{settings.source} names no label tasks; set evaluation.tasks.")
    return read_tasks(settings.evaluation.tasks)


def _tasks_of(settings: Settings, scenario: str) -> list[Task]:
    found = [task for task in _tasks(settings) if scenario in (task.scenario, task.shared_scenario) and not task.unseen]
    if not found:
        known = ", ".join(tunable_scenarios(settings))
        raise NotFoundError(
            f"No label task of {settings.evaluation.tasks} trains scenario {scenario!r}; known: {known}.",
            kind="scenario",
            name=scenario,
        )
    return found


def _anchors(settings: Settings) -> Sequence[date]:
    anchors = settings.tuning.anchors or settings.evaluation.train
    if not anchors:
        raise ConfigError(f"{settings.source} names no tuning.anchors and no evaluation.train; name anchor days.")
    return anchors


def _known_by(context: Context, anchors: Sequence[date]) -> datetime:
    return context.window(max(anchors) + timedelta(days=context.settings.evaluation.horizon_days)).as_of


def _labels(
    profiles: Mapping[date, Profiles], tasks: Sequence[Task], labels: Mapping[str, pa.Table], settings: Settings
) -> Labels:
    """The labels of all users that may be trained on, of all tasks."""
    places = {
        anchor: {user: row for row, user in enumerate(known.users.tolist())} for anchor, known in profiles.items()
    }
    anchors, rows, queries, classes = [], [], [], []
    for task in tasks:
        query = question(settings, task).query
        columns = (labels[task.name][name].to_pylist() for name in ("user_id", "anchor", "label"))
        for user, anchor, label in zip(*columns, strict=True):
            if user in places[anchor] and not is_held_out(user):
                anchors.append(anchor)
                rows.append(places[anchor][user])
                queries.append(query)
                classes.append(int(label))
    return Labels(anchors, np.array(rows, dtype=np.int64), queries, np.array(classes, dtype=np.int64))


def _chance(labels: Labels) -> float:
    """Entropy of the answers, in nats: at most ln 2, of two answers that are equally common."""
    shares = np.bincount(labels.classes) / len(labels.classes)
    return float(-sum(share * np.log(share) for share in shares if share))


def _prompt_directory(context: Context, model: str) -> Path:
    """Where the prompts of a model lie: they fit no other, and are made again if the config of tuning changes."""
    return Path(training_layout(context).prompts(_recipe(context.settings, model_digest(model))[:12]))


def _recipe(settings: Settings, digest: str) -> str:
    """All that prompts are made of. How their model is evaluated afterwards is no part of it."""
    tasks = [(repr(task), question(settings, task).query) for task in _tasks(settings)]
    days = [str(anchor) for anchor in settings.evaluation.train], settings.evaluation.horizon_days
    return fingerprint(digest, repr(settings.tuning), days, settings.training.seed, tasks, HELD_OUT)


def _prompt_file(context: Context, model: str, scenario: str) -> Path:
    return _prompt_directory(context, model) / f"{scenario}.safetensors"


def _report(path: Path) -> TuneReport:
    with safe_open(path, "np") as file:
        return TuneReport(**json.loads((file.metadata() or {})["report"]))
