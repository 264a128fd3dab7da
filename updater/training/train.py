"""`updater model train`: from UserU and the state to a checkpoint that can be tuned, evaluated and promoted."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path

import pyarrow as pa

from updater.domain.buckets import HELD_OUT, is_held_out
from updater.domain.fingerprint import fingerprint
from updater.domain.training import Training
from updater.errors import ConfigError
from updater.lake import partitions
from updater.model.checkpoint import CONFIG, create_model, save_model
from updater.model.config import ModelConfig, create_config
from updater.model.user_model import UserModel
from updater.runtime.deployment import Context, Progress, no_progress
from updater.runtime.device import model_device
from updater.runtime.session import Session
from updater.runtime.threads import one_thread
from updater.state.layout import StateLayout
from updater.training.build import data_root
from updater.training.checkpoints import remove_checkpoints
from updater.training.distributed import Rank, this_rank
from updater.training.pairs import PairTable, read_pairs, standardization
from updater.training.pretrain import pretrain
from updater.training.profiles import Profiles, read_profiles
from updater.training.projections import fit_projections
from updater.training.retrieval import top_answer_share
from updater.training.useru.dataset import SplitName, read_split
from updater.training.whitening import half_whiten

REPORT = "report.json"
"""Beside a run's metrics once it is done."""


@dataclass(frozen=True)
class TrainReport:
    """A finished pre-training."""

    model: str
    """Directory of the checkpoint."""
    profiles: int
    pairs: int
    steps: int
    contrastive: float
    next_token: float
    valid_top_answer: float | None
    """Share of validation questions whose own answer is nearest among a step's; None without a validation split."""


def train(
    context: Context,
    progress: Progress = no_progress,
    rank: Rank | None = None,
) -> TrainReport:
    """Pre-train a new model on UserU's training split and write it below `<state>/training/models`.

    A fifth of the users (`is_held_out`) is left out. Run again after a kill, it goes on from its last checkpoint; run
    again when it is done, it finds the model.

    Args:
        context: the deployment.
        progress: told the steps done.
        rank: this process among those that train together; from the environment if left out.

    Raises:
        ConfigError: there is no training data, or a library is missing.
    """
    settings, options = context.settings, context.settings.training
    rank = rank or this_rank()
    rows = read_split(data_root(settings), "train")
    if not rows.num_rows:
        raise ConfigError(
            f"{data_root(settings)} holds no training rows; run `updater model train --build-data` first."
        )
    with one_thread():
        profiles = read_all(context, sorted(set(rows["anchor_day"].to_pylist())), progress)
        config = standardized(create_config(settings), list(profiles.values()))
        model, table = first_model(config, rows, profiles, options)
        recipe = fingerprint(config.to_json(), repr(options), data_digest(rows), HELD_OUT)
        target = Path(training_layout(context).trained_model(recipe[:12]))
        run = Path(training_layout(context).training_run(recipe[:12]))
        if (run / REPORT).exists() and (target / CONFIG).exists():
            return TrainReport(**json.loads((run / REPORT).read_text(encoding="utf-8")))
        trained = pretrain(
            model,
            table,
            options,
            run,
            recipe,
            rank,
            lambda step, losses: progress(f"training (loss {losses['contrastive']:.2f})", step, options.steps),
            model_device(settings),
        )
        # Answers go through the same head, so how near they lie to their questions is told before it changes.
        valid = _valid(context, model, progress) if rank.is_first else None
        if rank.is_first:
            half_whiten(model, table, options)
            save_model(model, target)
        report = TrainReport(
            model=str(target),
            profiles=len(table.keys),
            pairs=len(table.question),
            steps=trained.steps,
            contrastive=trained.contrastive,
            next_token=trained.next_token,
            valid_top_answer=valid,
        )
    if rank.is_first:
        with partitions.write_file(str(run / REPORT)) as file:
            file.write(json.dumps(asdict(report)).encode())
        remove_checkpoints(run)
    return report


def training_layout(context: Context) -> StateLayout:
    """Where data, runs and models of training lie. Raises ConfigError for a state that is no local directory."""
    if not partitions.is_local(context.settings.paths.state):
        raise ConfigError(f"paths.state is {context.settings.paths.state}; training needs a local state directory.")
    return StateLayout(partitions.filesystem(context.layout.root)[1])


def read_all(context: Context, anchors: list[date], progress: Progress = no_progress) -> dict[date, Profiles]:
    """Profiles at every anchor day."""
    session = Session(context)
    profiles = {}
    for done, anchor in enumerate(anchors):
        progress("reading profiles", done, len(anchors))
        profiles[anchor] = read_profiles(context, session, anchor)
    return profiles


def first_model(
    config: ModelConfig, rows: pa.Table, profiles: Mapping[date, Profiles], options: Training
) -> tuple[UserModel, PairTable]:
    """A model with initial weights and fitted projections, and its pairs; neither sees users who are held out."""
    model = create_model(config)
    held_out = held_out_users(profiles)
    fit_projections(model, profiles, held_out)
    return model, read_pairs(rows, profiles, model, options, held_out)


def held_out_users(profiles: Mapping[date, Profiles]) -> set[str]:
    """The users of `profiles` that nothing is trained on."""
    users = {user for known in profiles.values() for user in known.users.tolist()}
    return {user for user in users if is_held_out(user)}


def standardized(config: ModelConfig, profiles: list[Profiles]) -> ModelConfig:
    """`config` with each numeric column's mean and deviation over the events of `profiles`."""
    modalities = []
    for number, modality in enumerate(config.modalities):
        mean, std = standardization(profiles, number)
        modalities.append(
            dataclasses.replace(modality, numeric_mean=tuple(mean.tolist()), numeric_std=tuple(std.tolist()))
            if modality.num_numeric
            else modality
        )
    return dataclasses.replace(config, modalities=tuple(modalities))


def _valid(context: Context, model: UserModel, progress: Progress) -> float | None:
    """How often validation questions find their answers."""
    split: SplitName = "valid"
    rows = read_split(data_root(context.settings), split)
    if not rows.num_rows:
        return None
    profiles = read_all(context, sorted(set(rows["anchor_day"].to_pylist())), progress)
    table = read_pairs(rows, profiles, model, context.settings.training, set())
    return top_answer_share(model, table, context.settings.training)


def data_digest(rows: pa.Table) -> str:
    """Tells the training data of two models apart."""
    digest = sha256()
    for name in ("user_id", "anchor_day", "question", "answer"):
        for text in rows[name].to_pylist():
            digest.update(f"{text}\0".encode())
    return digest.hexdigest()
