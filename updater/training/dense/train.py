"""A run of training on dense labels: profiles, answers, a fitted model, the steps, the checkpoint."""

from hashlib import sha256

from updater.domain.buckets import HELD_OUT
from updater.domain.fingerprint import fingerprint
from updater.model.checkpoint import create_model, save_model
from updater.model.config import ModelConfig, create_config
from updater.model.user_model import UserModel
from updater.runtime.deployment import Context, Progress
from updater.training.build import plan_build
from updater.training.dense.labels.table import DenseTable, read_table
from updater.training.dense.layers import has_layers
from updater.training.dense.loop import remove_stages, stages, train_dense
from updater.training.fitting import fit_model, standardized
from updater.training.profiles import read_all
from updater.training.runs import Run, TrainReport
from updater.training.steps.distributed import Rank, deal_out, process_group


def train_on_answers(context: Context, progress: Progress, rank: Rank) -> TrainReport:
    """Train a new model; see `updater.training.train.train`."""
    with process_group(rank):
        return _train(context, progress, rank)


def _train(context: Context, progress: Progress, rank: Rank) -> TrainReport:
    settings, options = context.settings, context.settings.training
    table = read_answers(context, progress, rank)
    config = standardized(create_config(settings), table.trained_profiles())
    run = Run.of(context, fingerprint(config.to_json(), repr(options), digest(table), HELD_OUT))
    if report := run.finished():
        return report
    model = fitted_to(config, table, rank)
    steps = sum(stage.schedule.steps for stage in stages(options, has_layers(model)))
    trained = train_dense(
        model,
        table,
        options,
        run.directory,
        run.recipe,
        rank,
        lambda step, losses: progress(f"training (loss {losses['answers']:.3f})", step, steps),
    )
    report = TrainReport(
        model=str(run.model),
        objective=options.objective,
        profiles=len(table.train),
        answers=len(table.train) * len(table.questions),
        steps=trained.steps,
        losses={"answers": trained.loss},
        validation={} if trained.valid_loss is None else {"loss": trained.valid_loss, "step": trained.valid_step},
    )
    if rank.is_first:
        save_model(model, run.model)
        run.finish(report)
        remove_stages(run.directory)
    return report


def read_answers(context: Context, progress: Progress, rank: Rank | None = None) -> DenseTable:
    """The training and validation profiles of the config, and what came of every question for them."""
    plan, days = plan_build(context.settings), context.settings.training.future_days
    trained = plan.trained(days)
    profiles = read_all(context, [*trained, *plan.validated(days)], progress, rank)
    return read_table(context, plan.last, profiles, trained, progress, rank)


def fitted_to(config: ModelConfig, table: DenseTable, rank: Rank | None = None) -> UserModel:
    """A model with initial weights, and all that is fitted to the training profiles."""
    model, rank = create_model(config), rank or Rank()
    texts = [text for question in table.questions for text in question.texts]
    # Each process encodes some of the questions for all.
    parts = [texts[start :: rank.count] for start in range(rank.count)]
    for part, vectors in zip(parts, deal_out(model.questions, parts, rank), strict=True):
        model.questions.keep(part, vectors)
    fit_model(model, table.profiles, table.train, texts)
    return model


def digest(table: DenseTable) -> str:
    """Distinguishes the training data of two models."""
    parts = sha256()
    for question in table.questions:
        parts.update("".join(f"{text}\0" for text in question.texts).encode())
    for anchor, answers in table.answers.items():
        parts.update(f"{anchor}\0".encode() + answers.tobytes())
        parts.update("\0".join(table.profiles[anchor].users.tolist()).encode())
    return parts.hexdigest()
