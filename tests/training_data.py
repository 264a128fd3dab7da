"""Made-up profiles and pairs that a small model learns in a few steps, and processes that learn them together."""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.model_factories import QUERIES, make_config, make_model
from tests.processes import fork_server
from updater.domain.buckets import is_held_out
from updater.domain.declared.modality import Modality
from updater.domain.declared.training import Training
from updater.model.checkpoint import save_model
from updater.model.user_model import UserModel
from updater.training.paper.pairs import PairTable, read_pairs
from updater.training.paper.pretrain import pretrain
from updater.training.profiles import Profiles
from updater.training.steps.distributed import Rank
from updater.training.useru.rows import FOCUS_GENERATOR
from updater.users.event_batches import UserEvents

ANCHORS = (date(2024, 3, 1), date(2024, 3, 15))
MODALITIES = (
    Modality(name="bill", text="{text}", numeric=("amount", "tip"), max_events=6),
    Modality(name="search", text="{text}", max_events=3),
    Modality(name="tabular", kind="snapshot", text="{text}", numeric=("age",), max_events=0),
)
"""Those of `model_factories.make_config`."""
TASTES = ("bill", "search", "tabular", "data")
OWN = {"data of next week": ("next", "week"), "be active": ("active", "stop"), "of user": ("user", "coming")}
OWN_GENERATOR = "log-1"


def taste_of(user: str) -> int:
    """What a user likes, which answers depend on and which their events show."""
    return int(user.removeprefix("u")) % len(TASTES)


def make_profiles(anchor: date, users: Sequence[str], seed: int = 0) -> Profiles:
    """Profiles of `users`, who are sorted; the texts of their events show their tastes."""
    rng = np.random.default_rng((seed, anchor.toordinal()))
    text_dim, known = make_config().text_dim, np.array(users, dtype=str)
    events = []
    for modality in MODALITIES:
        counts = np.ones(len(users), int) if modality.kind == "snapshot" else rng.integers(0, 8, len(users))
        if modality.name == "bill":
            counts = counts + 1
        total = int(counts.sum())
        texts = np.concatenate([np.eye(len(TASTES)), np.zeros((len(TASTES), text_dim - len(TASTES)))], axis=1)
        owners = np.repeat([taste_of(user) for user in users], counts)
        end = datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC) + timedelta(days=1)
        times = end.timestamp() - rng.uniform(0, 80 * 86_400.0, total)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        for first, last in pairwise(offsets):
            times[first:last].sort()
        events.append(
            UserEvents(
                modality=modality,
                offsets_U1=offsets,
                times_N=np.full(total, np.nan) if modality.kind == "snapshot" else times,
                local_N=np.zeros(total) if modality.kind == "snapshot" else times,
                text_rows_N=owners.astype(np.int64),
                texts_TV=texts.astype(np.float16),
                text_ids=[bytes([taste]) * 16 for taste in range(len(TASTES))],
                values_NC=rng.standard_normal((total, len(modality.numeric))),
            )
        )
    return Profiles(anchor, known, tuple(events))


def make_paper_model(name: str = "qwen2", **changes: Any) -> UserModel:
    """A random model of the paper's layout."""
    return make_model(name, layout="paper", **changes)


def make_rows(profiles: Mapping[date, Profiles]) -> pa.Table:
    """Rows of UserU: three questions that all are asked and whose answers are tastes, and some of each user's own."""
    rows = []
    for anchor, known in profiles.items():
        for user in known.users.tolist():
            common = {"user_id": user, "anchor_day": anchor}
            for number, question in enumerate(QUERIES):
                answer = f"{TASTES[(taste_of(user) + number) % len(TASTES)]} value"
                rows.append({**common, "generator": FOCUS_GENERATOR, "question": question, "answer": answer})
            for question, answers in OWN.items():
                answer = " ".join(answers[:: 1 if taste_of(user) % 2 else -1])
                rows.append({**common, "generator": OWN_GENERATOR, "question": question, "answer": answer})
    return pa.Table.from_pylist(rows)


def make_table(model: UserModel, options: Training, num_users: int = 40) -> PairTable:
    """Pairs of two anchor days, without those of held-out users."""
    users = sorted(f"u{number}" for number in range(num_users))
    profiles = {anchor: make_profiles(anchor, users) for anchor in ANCHORS}
    return read_pairs(make_rows(profiles), profiles, model, options, {user for user in users if is_held_out(user)})


def make_options(**changes: Any) -> Training:
    """A few steps of a few users."""
    values: dict[str, Any] = {
        "objective": "paper",
        "steps": 8,
        "users_per_step": 8,
        "pairs_per_user": 4,
        "save_every": 3,
        "learning_rate": 3e-3,
        "warmup_steps": 1,
        "precision": "float32",
        "lora_rank": 4,
        "lora_alpha": 8,
    }
    return Training(**{**values, **changes})


def pretrain_together(root: Path, count: int, options: Training) -> Path:
    """Train `make_model()` in so many processes; returns the directory of the model that the first one wrote."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = fork_server()
    processes = [server.Process(target=_train, args=(root, index, count, port, options)) for index in range(count)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(300)
        if any(process.exitcode for process in processes):
            raise RuntimeError(f"exit codes {[process.exitcode for process in processes]}")
    finally:
        for process in processes:
            process.kill()
    return root / "model"


def _train(root: Path, index: int, count: int, port: int, options: Training) -> None:
    if count > 1:
        numbers = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ.update({name: str(number) for name, number in numbers.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    model = make_paper_model()
    pretrain(model, make_table(model, options), options, root / "run", "recipe", Rank(index, count))
    if index == 0:
        save_model(model, root / "model")
