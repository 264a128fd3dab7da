"""The control of an evaluation: a model as training finds it, with all that is fitted to the data and no step taken.

Topics, directions of the summaries and the half whitening of the head are computed from the training data, not
learned, and make up most of what a model knows. A model that is no better than this one has not learned anything.
"""

from pathlib import Path

from updater.domain.buckets import HELD_OUT
from updater.domain.fingerprint import fingerprint
from updater.errors import ConfigError
from updater.model.checkpoint import CONFIG, save_model
from updater.model.config import ModelConfig
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.threads import one_thread
from updater.training.build import data_root
from updater.training.train import data_digest, first_model, read_all, training_layout
from updater.training.useru.dataset import has_split, read_split
from updater.training.whitening import half_whiten


def can_fit(context: Context) -> bool:
    """True if there is training data, without which nothing can be fitted."""
    return has_split(data_root(context.settings), "train")


def fitted_model(context: Context, config: ModelConfig, progress: Progress = no_progress) -> str:
    """The directory of a model of this shape after no step of training; made once for the same training data.

    Raises:
        ConfigError: there is no training data.
    """
    root, options = data_root(context.settings), context.settings.training
    rows = read_split(root, "train")
    if not rows.num_rows:
        raise ConfigError(
            f"{root} holds no training rows, to which a model could be fitted; run `updater model train` first."
        )
    recipe = fingerprint(config.to_json(), repr(options), data_digest(rows), HELD_OUT)
    target = Path(training_layout(context).fitted_model(recipe[:12]))
    if not (target / CONFIG).exists():
        with one_thread():
            profiles = read_all(context, sorted(set(rows["anchor_day"].to_pylist())), progress)
            progress("fitting a model without training", 0, 1)
            model, table = first_model(config, rows, profiles, options)
            half_whiten(model, table, options)
            save_model(model, target)
    return str(target)
