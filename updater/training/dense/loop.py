"""Training on dense labels: first without the backbone's layers, then with them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from updater.domain.declared.training import Training
from updater.model.user_model import UserModel
from updater.training.dense.best import Best
from updater.training.dense.labels.table import DenseTable
from updater.training.dense.layers import begin_layers, end_layers, has_layers, is_pretrained, silence_layers
from updater.training.dense.loss import DenseLoss
from updater.training.dense.steps import make_step
from updater.training.dense.task import DenseTask
from updater.training.dense.validation import Validation
from updater.training.steps.checkpoints import load_checkpoint, remove_checkpoints, save_checkpoint, trained_parameters
from updater.training.steps.distributed import Rank, average_gradients, process_group, sum_over_ranks, wait_for_all
from updater.training.steps.memory import freed_memory_kept
from updater.training.steps.metrics_log import MetricsLogger
from updater.training.steps.precision import autocast
from updater.training.steps.schedule import Schedule, make_optimizer

Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Stage:
    """A part of training with a schedule of its own."""

    number: int
    layers: bool
    users_per_step: int
    schedule: Schedule
    """Its learning rates."""
    before: int = 0
    """Steps of the stages before it."""
    is_last: bool = False

    def directory(self, run: Path) -> Path:
        """Where its checkpoints lie."""
        return run / f"stage-{self.number}"


@dataclass(frozen=True)
class Trained:
    """How a training run ended."""

    steps: int
    loss: float
    """Of the last step: the mean cross entropy of an embedding's own answers, in nats."""
    valid_loss: float | None
    """The same of the weights that were kept, on the validation anchor; None without one."""
    valid_step: int
    """The step that these weights are from; the last one without a validation anchor."""


def stages(options: Training, layers: bool) -> list[Stage]:
    """Those of the config; the second one if the model has layers and they have steps."""
    first = Schedule(options.steps, options.learning_rate, options.warmup_steps)
    second = Schedule(options.layers_steps, options.layers_learning_rate, options.warmup_steps)
    if not (layers and second.steps):
        return [Stage(0, False, options.users_per_step, first, is_last=True)]
    return [
        Stage(0, False, options.users_per_step, first),
        Stage(1, True, options.layers_users_per_step, second, first.steps, is_last=True),
    ]


@freed_memory_kept()
def train_dense(
    model: UserModel,
    table: DenseTable,
    options: Training,
    directory: Path,
    recipe: str,
    rank: Rank | None = None,
    report: Report | None = None,
) -> Trained:
    """Train a fitted `model` in place, and leave it with the weights that did best on the validation anchor.

    Run again after a kill, it goes on from the last checkpoint in `directory` and ends with the same bytes. The caller
    removes the checkpoints (`remove_stages`) once the model is on disk.

    Args:
        model: float32, fitted to the training profiles.
        table: questions and answers, the same in every process.
        options: the config.
        directory: for checkpoints and the metrics.
        recipe: digest of data and config; a checkpoint of another recipe is refused.
        rank: this process among those that train together.
        report: called with the steps done and their losses.

    Raises:
        ConfigError: no anchor day has as many profiles as a step takes, a library is missing, or the recipe differs.
    """
    rank = rank or Rank()
    for unused in (model.soft_prompts, model.prototypes, model.backbone):
        if unused is not None:
            unused.requires_grad_(False)
    run = _Run(model, table, options, directory, recipe, rank, report)
    layers = has_layers(model)
    with process_group(rank):
        for stage in stages(options, layers):
            if stage.layers:
                begin_layers(model, options)
            run.do(stage)
    if layers and not options.layers_steps:
        silence_layers(model)
    elif layers:
        end_layers(model)
    run.close()
    model.own_answers, model.answers = run.loss.own, run.loss.cross
    model.requires_grad_(True).eval()
    return run.trained


def remove_stages(directory: Path) -> None:
    """Remove checkpoints and best weights of a run."""
    for stage in directory.glob("stage-*"):
        remove_checkpoints(stage)
        Best(stage).remove()


class _Run:
    """The stages of one training, one after the other."""

    def __init__(
        self,
        model: UserModel,
        table: DenseTable,
        options: Training,
        directory: Path,
        recipe: str,
        rank: Rank,
        report: Report | None,
    ) -> None:
        self._task = DenseTask(model, table, options.seed)
        self._table, self._options, self._directory = table, options, directory
        self._recipe, self._rank, self._report = recipe, rank, report
        self._pretrained = is_pretrained(model)
        self._validation = Validation(table, options.layers_users_per_step, options.questions_per_step)
        self._metrics = MetricsLogger(directory) if rank.is_first else None
        self.trained = Trained(0, float("nan"), None, 0)

    def do(self, stage: Stage) -> None:
        """Train a stage to its end, and take its best weights."""
        directory, steps = stage.directory(self._directory), stage.schedule.steps
        self._task.train()
        optimizer = make_optimizer(self._task, self._options)
        begin = load_checkpoint(directory, self._task, optimizer, self._recipe)
        best = Best(directory)
        if not begin:
            self._judge(stage, best, 0)
        losses = {"answers": self.trained.loss}
        for step in range(begin, steps):
            losses = self._step(stage, optimizer, step)
            done = step + 1
            if done % self._options.validate_every == 0 or done == steps:
                losses |= self._judge(stage, best, done)
            # A stage that is done is not done again; the last one's end is the model.
            saved = done % self._options.save_every == 0 if done < steps else not stage.is_last
            if self._rank.is_first and saved:
                save_checkpoint(directory, self._task, optimizer, done, self._recipe)
            if self._metrics:
                self._metrics.write(stage.before + done, losses)
            if self._report:
                self._report(stage.before + done, losses)
        kept = self._take_best(directory, steps)
        self.trained = Trained(
            stage.before + steps, losses["answers"], kept.loss if kept.exists else None, stage.before + kept.step
        )

    @property
    def loss(self) -> DenseLoss:
        """With the maps by which an embedding predicts the answers to its own question and to all others."""
        return self._task.loss

    def close(self) -> None:
        """Flush the metrics."""
        if self._metrics:
            self._metrics.close()

    def _step(self, stage: Stage, optimizer: torch.optim.Optimizer, step: int) -> dict[str, float]:
        options, rank = self._options, self._rank
        # Dropout too follows from seed, stage, step and process alone.
        torch.manual_seed(options.seed * 1_000_003 + (stage.before + step) * 1_009 + rank.index)
        stage.schedule.set(optimizer, step)
        made = make_step(self._table, options, stage.users_per_step, stage.number, step, rank)
        with autocast(options, self._pretrained and stage.layers):
            answers, others, known = self._task(made, stage.layers)
        # Averaged over processes, the gradient is that of one process with all users.
        count = max(1.0, sum_over_ranks(float(known), rank))
        optimizer.zero_grad(set_to_none=True)
        ((answers + others) * rank.count / count).backward()
        parameters = trained_parameters(self._task).values()
        average_gradients(parameters, rank)
        norm = nn.utils.clip_grad_norm_(parameters, options.clip_norm)
        optimizer.step()
        sums = {"answers": answers, "others": others}
        means = {name: sum_over_ranks(float(value.detach()), rank) / count for name, value in sums.items()}
        return {**means, "gradient_norm": float(norm)}

    def _judge(self, stage: Stage, best: Best, step: int) -> dict[str, float]:
        if not self._validation.is_possible:
            return {}
        loss = self._validation.loss(self._task, stage.layers, self._rank)
        if self._rank.is_first:
            best.offer(self._task, loss, step)
        return {"valid": loss}

    def _take_best(self, directory: Path, steps: int) -> Best:
        """The best weights, or without a validation anchor the last ones."""
        wait_for_all(self._rank)
        best = Best(directory)
        if best.exists:
            best.restore(self._task)
        else:
            best.step = steps
        return best
