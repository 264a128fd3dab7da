"""A run of the paper's pre-training: UserU's pairs, a fitted model, the steps, the checkpoint."""

from collections.abc import Mapping
from datetime import date
from hashlib import sha256

import pyarrow as pa

from updater.domain.buckets import HELD_OUT
from updater.domain.declared.training import Training
from updater.domain.fingerprint import fingerprint
from updater.errors import ConfigError
from updater.model.checkpoint import create_model, save_model
from updater.model.config import ModelConfig, create_config
from updater.model.user_model import UserModel
from updater.runtime.deployment import Context, Progress
from updater.runtime.device import model_device
from updater.training.build import data_root
from updater.training.fitting import fit_model, standardized
from updater.training.paper.pairs import PairTable, read_pairs
from updater.training.paper.pretrain import pretrain
from updater.training.paper.retrieval import top_answer_share
from updater.training.profiles import Profiles, held_out_users, read_all
from updater.training.runs import Run, TrainReport
from updater.training.steps.checkpoints import remove_checkpoints
from updater.training.steps.distributed import Rank
from updater.training.useru.dataset import SplitName, read_split


def train_on_pairs(context: Context, progress: Progress, rank: Rank) -> TrainReport:
    """Train a new model; see `updater.training.train.train`."""
    settings, options = context.settings, context.settings.training
    rows = training_rows(context)
    profiles = read_all(context, anchor_days(rows), progress)
    config = standardized(create_config(settings), list(profiles.values()))
    run = Run.of(context, fingerprint(config.to_json(), repr(options), data_digest(rows), HELD_OUT))
    if report := run.finished():
        return report
    model, table = first_model(config, rows, profiles, options)
    trained = pretrain(
        model,
        table,
        options,
        run.directory,
        run.recipe,
        rank,
        lambda step, losses: progress(f"training (loss {losses['contrastive']:.2f})", step, options.steps),
        model_device(context.settings),
    )
    valid = _valid(context, model, progress) if rank.is_first else None
    report = TrainReport(
        model=str(run.model),
        objective=options.objective,
        profiles=len(table.keys),
        answers=len(table.question),
        steps=trained.steps,
        losses={"contrastive": trained.contrastive, "next_token": trained.next_token},
        validation={} if valid is None else {"top_answer": valid},
    )
    if rank.is_first:
        save_model(model, run.model)
        run.finish(report)
        remove_checkpoints(run.directory)
    return report


def training_rows(context: Context) -> pa.Table:
    """UserU's training split. Raises ConfigError if it is empty."""
    root = data_root(context.settings)
    rows = read_split(root, "train")
    if not rows.num_rows:
        raise ConfigError(f"{root} holds no training rows; run `updater model train --build-data` first.")
    return rows


def anchor_days(rows: pa.Table) -> list[date]:
    """The anchor days of some rows of UserU."""
    days: set[date] = set(rows["anchor_day"].to_pylist())
    return sorted(days)


def first_model(
    config: ModelConfig, rows: pa.Table, profiles: Mapping[date, Profiles], options: Training
) -> tuple[UserModel, PairTable]:
    """A model with initial weights and all that is fitted, and its pairs; neither sees users who are held out."""
    model = create_model(config)
    table = read_pairs(rows, profiles, model, options, held_out_users(profiles))
    questions = sorted(set(rows["question"].to_pylist()))
    fit_model(model, profiles, table.keys, questions)
    return model, table


def _valid(context: Context, model: UserModel, progress: Progress) -> float | None:
    """How often validation questions find their answers."""
    split: SplitName = "valid"
    rows = read_split(data_root(context.settings), split)
    if not rows.num_rows:
        return None
    profiles = read_all(context, anchor_days(rows), progress)
    table = read_pairs(rows, profiles, model, context.settings.training, set())
    return top_answer_share(model, table, context.settings.training)


def data_digest(rows: pa.Table) -> str:
    """Distinguishes the training data of two models."""
    digest = sha256()
    for name in ("user_id", "anchor_day", "question", "answer"):
        for text in rows[name].to_pylist():
            digest.update(f"{text}\0".encode())
    return digest.hexdigest()
