"""Encoders that are pre-trained by next item prediction on the deployment's own log, as systems of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial

import numpy as np

from updater.domain.window import first_buffer_day
from updater.encoders.config import Architecture, EncoderConfig, Pretraining
from updater.encoders.log import Log, read_log
from updater.encoders.pretrain import pretrain
from updater.encoders.recall import encoder_recall
from updater.encoders.vectors import user_vectors
from updater.evaluation.systems.costs import BYTES_PER_NUMBER, Cost, CpuClock
from updater.evaluation.systems.vectors import UserVectors, Vectors, VectorsFactory
from updater.labels.split import is_held_out
from updater.pipeline.daily.intake.prefetch import land_and_encode
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.training.build import plan_build


@dataclass(frozen=True, eq=False)
class MeasuredLog:
    """A log, and what reading it cost for each user at each anchor."""

    log: Log
    cpu_ms: float


@dataclass(frozen=True, eq=False)
class Encoded:
    """A pre-trained encoder's vectors, and how it came to them."""

    config: EncoderConfig
    vectors: dict[date, UserVectors]
    """Of all users with a stream event, at each anchor; the same for every question."""
    cpu_ms: float
    """Of computing them for each user at each anchor, without reading the log."""
    parameters: int
    """Learned numbers."""
    steps: int
    best_step: int
    """The step that the weights are from."""
    seconds: float
    """Of pre-training, by the clock."""
    validation_recall: float
    """Recall@10 of the users who chose the weights."""
    held_out_recall: float
    """The same of the held-out users at the last of the anchors."""


def encoder_systems(
    context: WritableContext,
    pool: ProcessPool,
    names: Sequence[Architecture],
    anchors: Sequence[date],
    progress: Progress = no_progress,
) -> dict[str, VectorsFactory]:
    """What makes the vectors of the encoders `names` at `anchors`. The first call pre-trains all of them."""

    @cache
    def made() -> dict[str, Vectors]:
        measured = measured_log(context, pool, anchors, progress)
        options = Pretraining(seed=context.settings.training.seed)
        configs = [EncoderConfig(architecture=name) for name in names]
        encoded = pretrain_encoders(pool, measured.log, configs, options, anchors, progress)
        return {one.config.architecture: _vectors(one, measured.cpu_ms) for one in encoded}

    def vectors(name: str) -> Vectors:
        return made()[name]

    return {name: partial(vectors, name) for name in names}


def measured_log(
    context: WritableContext, pool: ProcessPool, anchors: Sequence[date], progress: Progress = no_progress
) -> MeasuredLog:
    """The log at `anchors` and at the days that encoders are trained on, which are landed and encoded if need be.

    Raises:
        NotLandedError: the lake has too few days to train on, or nobody who may be trained on has an event.
    """
    train, clock = training_anchors(context.settings), CpuClock()
    land_and_encode(context, pool, first_buffer_day(train[0], context.settings.buffer.days), train[-1], progress)
    with clock.running():
        log = read_log(context, anchors, train, progress=progress)
    num_users = sum(len(sequences.users) for sequences in log.at.values())
    return MeasuredLog(log, 1000 * clock.seconds / max(1, num_users))


def training_anchors(settings: Settings) -> list[date]:
    """Days whose buffers encoders are trained on: those of `[training]` that its profiles or their futures reach, a
    future apart, the newest one first chosen. Raises NotLandedError if there are none.
    """
    plan = plan_build(settings)
    apart = timedelta(days=settings.training.future_days)
    chosen: list[date] = []
    for anchor in sorted(plan.every, reverse=True):
        if anchor <= plan.split.valid_from and (not chosen or anchor + apart <= chosen[-1]):
            chosen.append(anchor)
    return chosen[::-1]


def pretrain_encoders(
    pool: ProcessPool,
    log: Log,
    configs: Sequence[EncoderConfig],
    options: Pretraining,
    anchors: Sequence[date],
    progress: Progress = no_progress,
) -> list[Encoded]:
    """Pre-train encoders, one in each process of `pool`, and compute the vectors of all users at `anchors`."""
    found: dict[int, Encoded] = {}
    progress("pre-training encoders", 0, len(configs))
    for index, encoded in pool.map(_encode, [(log, config, options, list(anchors)) for config in configs]):
        found[index] = encoded
        progress("pre-training encoders", len(found), len(configs))
    return [found[index] for index in range(len(configs))]


def _encode(log: Log, config: EncoderConfig, options: Pretraining, anchors: list[date]) -> Encoded:
    made, clock = pretrain(log, config, options), CpuClock()
    with clock.running():
        values = {anchor: user_vectors(made.encoder, log.at[anchor]) for anchor in anchors}
    vectors = {anchor: UserVectors(log.at[anchor].users, values[anchor].astype(float)) for anchor in anchors}
    num_users = sum(len(known.users) for known in vectors.values())
    last = log.at[max(anchors)]
    return Encoded(
        config=config,
        vectors=vectors,
        cpu_ms=1000 * clock.seconds / max(1, num_users),
        parameters=sum(weight.numel() for weight in made.encoder.parameters()),
        steps=made.steps,
        best_step=made.best_step,
        seconds=made.seconds,
        validation_recall=made.recall,
        held_out_recall=encoder_recall(made.encoder, last, np.flatnonzero(is_held_out(last.users.tolist()))),
    )


def _vectors(encoded: Encoded, reading_ms: float) -> Vectors:
    cost = Cost(reading_ms + encoded.cpu_ms, BYTES_PER_NUMBER * encoded.config.width)
    return Vectors(lambda query, anchor: encoded.vectors[anchor], cost)
