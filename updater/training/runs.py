"""What a run of training leaves behind: where it lies, and what it reports."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from updater.domain.fingerprint import fingerprint
from updater.lake import partitions
from updater.locations import is_s3
from updater.model.checkpoint import CONFIG
from updater.runtime.deployment import Context
from updater.runtime.model_files import machine_cache
from updater.state.layout import StateLayout

REPORT = "report.json"
"""Beside a run's metrics once it is done."""
METHOD_VERSION = 4
"""Of fitting and training: to be raised when the same data and config give another model, so that an earlier run is not
taken for it."""


@dataclass(frozen=True)
class TrainReport:
    """A finished training."""

    model: str
    """Directory of the checkpoint."""
    objective: str
    profiles: int
    answers: int
    """Answers about these profiles that there are to learn from; of the paper's objective, question-answer pairs."""
    steps: int
    losses: dict[str, float]
    """Of the last step, by name."""
    validation: dict[str, float]
    """What the validation split says, by name; empty without one."""


def training_layout(context: Context) -> StateLayout:
    """Where runs and models of training lie, on a local disk: in the state; of one in a bucket in the machine's cache.

    What lies there names no user: an erasure does not find it on other machines.
    """
    root = context.layout.root
    if is_s3(root):
        return StateLayout(str(machine_cache() / "states" / fingerprint(root)[:16]))
    return StateLayout(partitions.filesystem(root)[1])


@dataclass(frozen=True)
class Run:
    """A training run of one recipe."""

    recipe: str
    directory: Path
    """For checkpoints and metrics."""
    model: Path
    """Where the model goes."""

    @classmethod
    def of(cls, context: Context, recipe: str) -> "Run":
        """The run of `recipe`, a digest of data and config, by the present method."""
        recipe = fingerprint(METHOD_VERSION, recipe)
        layout = training_layout(context)
        return cls(recipe, Path(layout.training_run(recipe[:12])), Path(layout.trained_model(recipe[:12])))

    def finished(self) -> TrainReport | None:
        """The report of a run that is done and whose model is there."""
        report = self.directory / REPORT
        if not (report.exists() and (self.model / CONFIG).exists()):
            return None
        return TrainReport(**json.loads(report.read_text(encoding="utf-8")))

    def finish(self, report: TrainReport) -> None:
        """Write the report: the run is done."""
        with partitions.write_file(str(self.directory / REPORT)) as file:
            file.write(json.dumps(asdict(report)).encode())
