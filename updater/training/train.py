"""`updater model train`: from the lake and the state to a checkpoint that can be tuned, evaluated and promoted."""

from updater.errors import ConfigError
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.threads import one_thread
from updater.training.dense.train import train_on_answers
from updater.training.paper.train import train_on_pairs
from updater.training.runs import TrainReport
from updater.training.steps.distributed import Rank, this_rank

LAYOUTS = {"dense": "anchored", "paper": "paper"}
"""The layout of the model that an objective trains."""


def train(context: Context, progress: Progress = no_progress, rank: Rank | None = None) -> TrainReport:
    """Train a new model on the training split and write it below `<state>/training/models`.

    A fifth of the users (`is_held_out`) is left out. Run again after a kill, it goes on from its last checkpoint; run
    again when it is done, it finds the model.

    Args:
        context: the deployment, with the data that `build.build_data` makes.
        progress: called with the steps done.
        rank: this process among those that train together; from the environment if left out.

    Raises:
        ConfigError: there is no training data, a library is missing, or the model's layout is another objective's.
        NotLandedError: the lake's days are too few.
    """
    settings = context.settings
    objective, layout = settings.training.objective, settings.model.layout
    if layout != LAYOUTS[objective]:
        raise ConfigError(
            f"training.objective = {objective!r} trains model.layout = {LAYOUTS[objective]!r}, and {settings.source} "
            f"has {layout!r}; change one of them."
        )
    train_on = {"dense": train_on_answers, "paper": train_on_pairs}[objective]
    with one_thread():
        return train_on(context, progress, rank or this_rank())
