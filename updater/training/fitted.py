"""The control of an evaluation: a model as training finds it, with all that is fitted to the data and no step taken.

Means, scales and directions are computed from the training data, not learned. A model that is no better than this one
has not learned anything.
"""

from pathlib import Path

from updater.domain.buckets import HELD_OUT
from updater.domain.fingerprint import fingerprint
from updater.errors import NotLandedError
from updater.model.checkpoint import CONFIG, save_model
from updater.model.config import ModelConfig
from updater.model.user_model import UserModel
from updater.pipeline.daily.intake.prefetch import land_and_encode
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.runtime.threads import one_thread
from updater.training.build import data_root, plan_build
from updater.training.dense.train import fitted_to, read_answers
from updater.training.paper.train import anchor_days, data_digest, first_model, training_rows
from updater.training.profiles import read_all
from updater.training.runs import METHOD_VERSION, training_layout
from updater.training.useru.dataset import has_split


def can_fit(context: Context) -> bool:
    """True if there is training data, without which nothing can be fitted."""
    if context.settings.training.objective == "paper":
        return has_split(data_root(context.settings), "train")
    try:
        plan_build(context.settings)
    except NotLandedError:
        return False
    return True


def fitted_model(context: WritableContext, config: ModelConfig, progress: Progress = no_progress) -> str:
    """The directory of a model of this shape after no step of training; made once for the same training data.

    Raises:
        ConfigError: there is no training data.
    """
    of_objective = {"dense": _fitted_to_answers, "paper": _fitted_to_pairs}[context.settings.training.objective]
    with one_thread():
        return of_objective(context, config, progress)


def _fitted_to_answers(context: WritableContext, config: ModelConfig, progress: Progress) -> str:
    plan = plan_build(context.settings)
    with ProcessPool(context.settings, context.now) as pool:
        land_and_encode(context, pool, plan.first, plan.last, progress)
    # Names of event files identify what is in them, at less cost than reading it.
    events = {
        name: [(str(file.ds), file.path.rpartition("/")[2]) for file in files]
        for name, files in context.all_event_files(plan.last).items()
    }
    target = _target(context, config, fingerprint(events, context.settings.buffer.days))
    if not (target / CONFIG).exists():
        _save(fitted_to(config, read_answers(context, progress)), target, progress)
    return str(target)


def _fitted_to_pairs(context: Context, config: ModelConfig, progress: Progress) -> str:
    rows = training_rows(context)
    target = _target(context, config, data_digest(rows))
    if not (target / CONFIG).exists():
        profiles = read_all(context, anchor_days(rows), progress)
        _save(first_model(config, rows, profiles, context.settings.training)[0], target, progress)
    return str(target)


def _target(context: Context, config: ModelConfig, data: str) -> Path:
    recipe = fingerprint(METHOD_VERSION, config.to_json(), repr(context.settings.training), data, HELD_OUT)
    return Path(training_layout(context).fitted_model(recipe[:12]))


def _save(model: UserModel, target: Path, progress: Progress) -> None:
    progress("fitting a model without training", 0, 1)
    save_model(model, target)
