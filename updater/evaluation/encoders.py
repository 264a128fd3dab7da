"""Encoders that are pre-trained by next item prediction on the deployment's own log, as systems of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial

from updater.domain.window import first_buffer_day
from updater.encoders.config import Architecture, EncoderConfig, Pretraining
from updater.encoders.log import Log, read_log
from updater.encoders.pretrain import pretrain
from updater.encoders.vectors import user_vectors
from updater.evaluation.costs import BYTES_PER_NUMBER, Cost, CpuClock
from updater.evaluation.vectors import UserVectors, Vectors, VectorsFactory
from updater.pipeline.daily.prefetch import land_and_encode
from updater.runtime.deployment import Progress, WritableContext, no_progress
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings
from updater.training.build import plan_build


@dataclass(frozen=True, eq=False)
class MeasuredLog:
    """A log, and what reading it cost for each user at each anchor."""

    log: Log
    cpu_ms: float


def encoder_systems(
    context: WritableContext,
    pool: ProcessPool,
    names: Sequence[Architecture],
    anchors: Sequence[date],
    progress: Progress = no_progress,
) -> dict[str, VectorsFactory]:
    """What makes the vectors of the encoders `names` at `anchors`; the log is read once for all of them."""
    log = cache(partial(measured_log, context, pool, anchors, progress))

    def vectors(name: Architecture) -> Vectors:
        options = Pretraining(seed=context.settings.training.seed)
        return encoder_vectors(log(), EncoderConfig(architecture=name), options, anchors, progress)

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
    future apart, the newest first chosen. Raises NotLandedError if there are none.
    """
    plan = plan_build(settings)
    apart = timedelta(days=settings.training.future_days)
    reached = [anchor for anchor in plan.every if anchor <= plan.split.valid_from]
    chosen: list[date] = []
    for anchor in reversed(reached):
        if not chosen or anchor + apart <= chosen[-1]:
            chosen.append(anchor)
    return chosen[::-1]


def encoder_vectors(
    measured: MeasuredLog,
    config: EncoderConfig,
    options: Pretraining,
    anchors: Sequence[date],
    progress: Progress = no_progress,
) -> Vectors:
    """Pre-train an encoder and compute the vectors of all users at `anchors`, the same for every question."""
    encoder = pretrain(measured.log, config, options, progress).encoder
    found, clock, label = {}, CpuClock(), f"embedding users with {config.architecture}"
    for done, anchor in enumerate(anchors):
        progress(label, done, len(anchors))
        sequences = measured.log.at[anchor]
        with clock.running():
            values = user_vectors(encoder, sequences)
        found[anchor] = UserVectors(sequences.users, values.astype(float))
    num_users = sum(len(vectors.users) for vectors in found.values())
    cost = Cost(measured.cpu_ms + 1000 * clock.seconds / max(1, num_users), BYTES_PER_NUMBER * config.width)
    return Vectors(lambda query, anchor: found[anchor], cost)
