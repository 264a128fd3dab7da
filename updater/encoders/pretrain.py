"""Next item prediction: the softmax over all items after every event of a user, with the items' own embeddings.

A step draws one of the training anchors, some users at it, and of a long sequence a part. Held-out users and those of
the validation are not trained on; the latter's recall chooses the weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from updater.domain.buckets import is_held_out, is_validation
from updater.encoders.config import EncoderConfig, Pretraining
from updater.encoders.encoder import SequenceEncoder
from updater.encoders.log import Log
from updater.encoders.recall import encoder_recall, next_items
from updater.encoders.sequences import OTHER, Batch, Sequences
from updater.errors import NotLandedError
from updater.runtime.deployment import Progress, no_progress
from updater.runtime.threads import one_thread
from updater.runtime.timing import Stopwatch

BETAS = 0.9, 0.98
"""Of AdamW."""

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pretrained:
    """An encoder with the weights that did best, and how it came to them."""

    encoder: SequenceEncoder
    steps: int
    """Steps that were taken."""
    best_step: int
    """The step that the weights are from; the last one without validation users."""
    recall: float
    """Recall@10 of the validation users with these weights; NaN without any."""
    seconds: float
    """By the clock."""


def pretrain(
    log: Log, config: EncoderConfig, options: Pretraining | None = None, progress: Progress = no_progress
) -> Pretrained:
    """Train a new encoder. On a CPU the same log, config and options give the same weights to the bit.

    Args:
        log: the sequences.
        config: the encoder.
        options: budget and numbers; their defaults if left out.
        progress: called as work is done.

    Raises:
        NotLandedError: nobody who may be trained on has two events.
    """
    options = options or Pretraining()
    users = [_trained_users(log.at[anchor]) for anchor in log.train]
    if not any(map(len, users)):
        raise NotLandedError(
            f"no user who may be trained on has two stream events at {', '.join(map(str, log.train))}; "
            "land the days before these anchors."
        )
    watch = Stopwatch()
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        encoder = SequenceEncoder(config, log.sizes, torch.from_numpy(log.item_counts))
        run = _Run(log, encoder, users, options)
        for step in range(options.steps):
            loss = run.step()
            progress(f"pre-training {config.architecture} (loss {loss:.3f})", step + 1, options.steps)
            late = options.seconds is not None and watch.seconds >= options.seconds
            if (step + 1) % options.validate_every == 0 or step + 1 == options.steps or late:
                run.judge()
            if late or run.looks_since_best >= options.patience:
                break
        run.take_best()
    return Pretrained(encoder.eval(), run.steps, run.best_step, run.best_recall, watch.seconds)


def _trained_users(sequences: Sequences) -> Int64:
    """Rows of the users with two events or more who are trained on."""
    kept = [not is_held_out(user) and not is_validation(user) for user in sequences.users.tolist()]
    return np.flatnonzero(np.array(kept, dtype=bool) & (sequences.num_events_U > 1))


class _Run:
    """The steps of a pre-training, and the best weights so far."""

    def __init__(self, log: Log, encoder: SequenceEncoder, users: Sequence[Int64], options: Pretraining) -> None:
        self._encoder, self._options = encoder, options
        self._draws = np.random.default_rng(options.seed)
        self._anchors = [(log.at[anchor], rows) for anchor, rows in zip(log.train, users, strict=True) if len(rows)]
        self._newest = log.at[log.train[-1]]
        chosen = [is_validation(user) and not is_held_out(user) for user in self._newest.users.tolist()]
        self._validation = np.flatnonzero(chosen)
        matrices = [weight for weight in encoder.parameters() if weight.ndim > 1]
        vectors = [weight for weight in encoder.parameters() if weight.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": options.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=BETAS)
        self._best: dict[str, Tensor] = {}
        self.steps, self.best_step, self.best_recall, self.looks_since_best = 0, 0, math.nan, 0

    def step(self) -> float:
        """Take one. Returns its loss in nats."""
        warm = min(1.0, (self.steps + 1) / max(1, self._options.warmup_steps))
        for group in self._optimizer.param_groups:
            group["lr"] = self._options.learning_rate * warm
        self._encoder.train()
        batch = self._draw()
        mask_BL, items_N = next_items(batch)
        scores_NI = self._encoder.scores(self._encoder(batch)[:, :-1][mask_BL])
        loss = cross_entropy(scores_NI, items_N - OTHER)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._encoder.parameters(), self._options.clip_norm)
        self._optimizer.step()
        self.steps += 1
        return float(loss.detach())

    def judge(self) -> None:
        """Keep the weights if the validation users' recall is better than ever; without such users the newest."""
        recall = encoder_recall(self._encoder, self._newest, self._validation)
        if math.isnan(recall) or not self._best or recall > self.best_recall:
            self._best = {name: value.clone() for name, value in self._encoder.state_dict().items()}
            self.best_step, self.best_recall, self.looks_since_best = self.steps, recall, 0
        else:
            self.looks_since_best += 1

    def take_best(self) -> None:
        """Give the encoder the best weights."""
        self._encoder.load_state_dict(self._best)

    def _draw(self) -> Batch:
        """Some users at one of the anchors, of each so many consecutive events as an encoder reads."""
        sequences, trained = self._anchors[self._draws.integers(len(self._anchors))]
        users = self._draws.choice(trained, min(self._options.users_per_step, len(trained)), replace=False)
        events = sequences.num_events_U[users]
        lengths = np.minimum(events, self._encoder.config.max_events)
        return sequences.batch(users, self._draws.integers(events - lengths + 1), lengths)
