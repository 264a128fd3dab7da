"""CoLES (arXiv 2002.08232) of pytorch-lifestream on the same events, users and days, as a system beside the others.

It learns that slices of one user's events belong together and slices of two users do not, from events alone. A GRU
reads the stream events of the buffer in order: modality, text, the modality's numeric columns, the time of day and the
days since the event before. Its last state is the embedding, one for all questions. coles.txt says how it is installed.
"""

import logging
import time
from collections.abc import Sequence
from datetime import date
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from updater.errors import ConfigError
from updater.evaluation.systems.costs import BYTES_PER_NUMBER, Cost, CpuClock
from updater.evaluation.systems.vectors import UserVectors, Vectors
from updater.labels.split import is_held_out
from updater.runtime.deployment import Context, Progress
from updater.runtime.session import Session
from updater.runtime.threads import one_thread
from updater.training.profiles import Profiles, read_profiles

SLICES, SHORTEST, LONGEST = 5, 25, 200
"""Of a user in a step: number, and events from and to, as in the paper's experiments."""
USERS_PER_STEP = 64
HARD_NEGATIVES, MARGIN = 5, 0.5
LEARNING_RATE = 1e-3
MAX_TEXTS = 4_000
"""Texts that have an embedding of their own, the commonest; all others share one."""
TEXT_DIM, MODALITY_DIM = 32, 8
MAX_EVENTS = 1_000
"""Newest events of a user that are read."""
USERS_PER_BATCH = 128

Events = dict[str, torch.Tensor]


class Log:
    """Users' events as sequences of numbers. Which texts have numbers of their own is decided on the first profiles."""

    def __init__(self, profiles: Sequence[Profiles]) -> None:
        counts: dict[bytes, int] = {}
        for known in profiles:
            for events in known.events:
                for row, number in enumerate(np.bincount(events.text_rows_N, minlength=len(events.text_ids)).tolist()):
                    counts[events.text_ids[row]] = counts.get(events.text_ids[row], 0) + number
        commonest = sorted(counts, key=lambda text: (-counts[text], text))[:MAX_TEXTS]
        # 0 is padding, 1 whatever is rare.
        self.texts = {text: place + 2 for place, text in enumerate(commonest)}
        self.num_modalities = len(profiles[0].events)
        self.num_numbers = max(events.numeric_NC.shape[1] for events in profiles[0].events)

    def sequences(self, profiles: Profiles) -> list[Events]:
        """The newest stream events of each user, in the order of time; those of a user without any are empty."""
        streams = [(n, e) for n, e in enumerate(profiles.events) if e.modality.kind == "stream"]
        owner = np.concatenate([np.repeat(np.arange(len(profiles.users)), np.diff(e.offsets_U1)) for _, e in streams])
        seconds = np.concatenate([events.times_N for _, events in streams])
        modality = np.concatenate([np.full(len(events.times_N), number + 1) for number, events in streams])
        text = np.concatenate([self._texts(events.text_ids)[events.text_rows_N] for _, events in streams])
        widths = [self.num_numbers - events.numeric_NC.shape[1] for _, events in streams]
        numbers = np.concatenate(
            [np.pad(events.numeric_NC, ((0, 0), (0, w))) for (_, events), w in zip(streams, widths, strict=True)]
        )
        order = np.lexsort((text, modality, seconds, owner))
        bounds = np.searchsorted(owner[order], np.arange(len(profiles.users) + 1))
        found = []
        for start, end in pairwise(bounds.tolist()):
            rows = order[max(start, end - MAX_EVENTS) : end]
            gaps = np.diff(seconds[rows], prepend=seconds[rows][:1]) / 86_400
            one = {
                "event_time": torch.from_numpy(seconds[rows]),
                "modality": torch.from_numpy(modality[rows]),
                "text": torch.from_numpy(text[rows]),
                "hour": torch.from_numpy(((seconds[rows] % 86_400) // 3_600).astype(np.int64) + 1),
                "gap": torch.from_numpy(np.log1p(gaps).astype(np.float32)),
            }
            one |= {
                f"number_{place}": torch.from_numpy(numbers[rows, place].astype(np.float32))
                for place in range(self.num_numbers)
            }
            found.append(one)
        return found

    def _texts(self, ids: Sequence[bytes]) -> np.ndarray:
        return np.array([self.texts.get(text, 1) for text in ids], dtype=np.int64)


class AnyAnchor:
    """Users with their sequences at each anchor, of which a step reads one: what overlaps is no negative."""

    def __init__(self, by_user: list[list[Events]], seed: int) -> None:
        self.by_user = by_user
        self.draws = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.by_user)

    def __getitem__(self, place: int) -> Events:
        known = self.by_user[place]
        return known[self.draws.integers(len(known))]


def coles(
    context: Context, anchors: Sequence[date], train: Sequence[date], seconds: float, seed: int, progress: Progress
) -> Vectors:
    """Train CoLES on users who are not held out, as they were at the anchors `train`, and embed all at `anchors`.

    Args:
        context: the deployment; its days have been landed and encoded.
        anchors: days at which users are embedded.
        train: those whose profiles are learned from.
        seconds: CPU seconds that training may take.
        seed: of weights and draws.
        progress: called as work is done.

    Raises:
        ConfigError: pytorch-lifestream is not installed.
    """
    session, width = Session(context), context.settings.model.embedding_dim
    reading, computing = CpuClock(), CpuClock()
    with one_thread():
        with reading.running():
            profiles = {anchor: read_profiles(context, session, anchor) for anchor in anchors}
        log = Log([profiles[anchor] for anchor in train])
        with reading.running():
            sequences = {anchor: log.sequences(known) for anchor, known in profiles.items()}
        torch.manual_seed(seed)
        np.random.seed(seed)  # the slices are drawn from it
        by_user: dict[str, list[Events]] = {}
        for anchor in train:
            users = profiles[anchor].users
            for user, held_out, one in zip(users.tolist(), is_held_out(users.tolist()), sequences[anchor], strict=True):
                if not held_out and len(one["event_time"]) > 1:
                    by_user.setdefault(user, []).append(one)
        encoder = _trained(log, list(by_user.values()), width, seconds, seed, progress)
        found = {}
        for done, anchor in enumerate(anchors):
            with computing.running():
                values = _embed(encoder, sequences[anchor], width)
            found[anchor] = UserVectors(profiles[anchor].users, values)
            progress("embedding users with CoLES", done + 1, len(anchors))
    num_users = sum(len(known.users) for known in profiles.values())
    cost = Cost(1000 * (reading.seconds + computing.seconds) / max(1, num_users), BYTES_PER_NUMBER * width)
    return Vectors(lambda query, anchor: found[anchor], cost)


def _trained(log: Log, by_user: list[list[Events]], width: int, seconds: float, seed: int, progress: Progress) -> Any:
    """The encoder, after so many CPU seconds of steps."""
    try:
        import pytorch_lightning as lightning
        from ptls.frames.coles import ColesDataset, CoLESModule
        from ptls.frames.coles.losses import ContrastiveLoss
        from ptls.frames.coles.sampling_strategies import HardNegativePairSelector
        from ptls.frames.coles.split_strategy import SampleSlices
        from ptls.nn import RnnSeqEncoder, TrxEncoder
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"CoLES needs {error.name}; `pip install --no-deps --target build/coles -r benchmarks/quality/coles.txt`, "
            "and run with PYTHONPATH=build/coles."
        ) from None

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Budget(lightning.Callback):
        """Ends training when the CPU time is spent."""

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.begin = time.process_time()

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            spent = time.process_time() - self.begin
            progress("training CoLES, CPU seconds", round(spent), round(seconds))
            if spent >= seconds:
                trainer.should_stop = True

    numbers = {name: "identity" for name in ("gap", *(f"number_{place}" for place in range(log.num_numbers)))}
    trx_encoder = TrxEncoder(
        embeddings={
            "modality": {"in": log.num_modalities + 1, "out": MODALITY_DIM},
            "text": {"in": len(log.texts) + 2, "out": TEXT_DIM},
            "hour": {"in": 25, "out": MODALITY_DIM},
        },
        numeric_values=numbers,
    )
    module = CoLESModule(
        seq_encoder=RnnSeqEncoder(trx_encoder=trx_encoder, hidden_size=width, type="gru"),
        loss=ContrastiveLoss(margin=MARGIN, sampling_strategy=HardNegativePairSelector(neg_count=HARD_NEGATIVES)),
        optimizer_partial=partial(torch.optim.Adam, lr=LEARNING_RATE),
        lr_scheduler_partial=partial(torch.optim.lr_scheduler.StepLR, step_size=1_000_000),
    )
    data = ColesDataset(AnyAnchor(by_user, seed), SampleSlices(SLICES, SHORTEST, LONGEST))
    loader = torch.utils.data.DataLoader(
        data,
        USERS_PER_STEP,
        shuffle=True,
        drop_last=len(data) > USERS_PER_STEP,
        collate_fn=data.collate_fn,
        generator=torch.Generator().manual_seed(seed),
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Budget()],
    )
    trainer.fit(module, loader)
    print(f"CoLES: {trainer.global_step} steps of {USERS_PER_STEP} users", flush=True)
    return module.seq_encoder.eval()


def _embed(encoder: Any, sequences: list[Events], width: int) -> np.ndarray:
    """The last states, shape (users, width); zeros of users without events."""
    from ptls.data_load.utils import collate_feature_dict

    values = np.zeros((len(sequences), width))
    lengths = np.array([len(one["event_time"]) for one in sequences])
    # Users of like length together, so that little is padded.
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    with torch.inference_mode():
        for start in range(0, len(order), USERS_PER_BATCH):
            rows = order[start : start + USERS_PER_BATCH]
            values[rows] = encoder(collate_feature_dict([sequences[row] for row in rows])).numpy()
    return values
