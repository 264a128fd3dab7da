"""The profile through the frozen sentence encoder and a probe, beside the mean vector of the events' own texts."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from updater.evaluation.evaluate import evaluate
from updater.evaluation.systems.costs import BYTES_PER_NUMBER, Cost, CpuClock
from updater.evaluation.systems.vectors import UserVectors, Vectors
from updater.model.text_encoder import load_text_encoder
from updater.pipeline.daily.bucket_values import read_buffer
from updater.runtime.deployment import Context, Progress, WritableContext
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import Session
from updater.training.profiles import read_profiles
from updater.users.profiles import profiles_of

PROFILE = "profile_text"
SYSTEMS = ("text", "recency")


def measure_auc(context: WritableContext, directory: str, progress: Progress) -> dict[str, Any]:
    """AUC over the label tasks of `[evaluation]`; its whole report is written into `directory`."""
    chosen = context.settings.evaluation
    anchors = sorted({*chosen.train, *chosen.validation, *chosen.test})
    external = {PROFILE: lambda: profile_vectors(context, anchors, progress)}
    with ProcessPool(context.settings, context.now) as pool:
        found = evaluate(context, pool, systems=SYSTEMS, output=directory, progress=progress, external=external)
    mean = found.report["mean"]
    gained = {name: mean[name]["auc"] - mean["recency"]["auc"] for name in (PROFILE, "text")}
    return {
        "anchors": {name: [str(ds) for ds in getattr(chosen, name)] for name in ("train", "validation", "test")},
        "tasks": len(found.report["tasks"]),
        "mean": mean,
        "differences": {pair: one for pair, one in found.report["differences"].items() if PROFILE in pair},
        "kept_above_half": round((mean[PROFILE]["auc"] - 0.5) / (mean["text"]["auc"] - 0.5), 4),
        "kept_above_recency": round(gained[PROFILE] / gained["text"], 4),
    }


def profile_texts(context: Context, session: Session, anchor: date) -> tuple[np.ndarray, list[str]]:
    """Users at the end of an anchor day, and their profiles as text."""
    users = read_profiles(context, session, anchor).users
    buckets = range(context.settings.buffer.num_buckets)
    events = read_buffer(context, session, context.window(anchor), buckets, users.tolist(), profiles=True).events
    made = profiles_of(events, np.arange(len(users)), context.settings.profile)
    return users, [profile.text for profile in made.profiles]


def profile_vectors(context: Context, anchors: Sequence[date], progress: Progress) -> Vectors:
    """A vector of each user's profile, the same for all questions."""
    encoder, clock, found = load_text_encoder(context.settings.model.text_encoder), CpuClock(), {}
    with Session(context) as session:
        for done, anchor in enumerate(anchors):
            progress("reading and encoding profiles", done, len(anchors))
            with clock.running():
                users, texts = profile_texts(context, session, anchor)
                distinct = sorted(set(texts))
                vectors = dict(zip(distinct, encoder.encode(distinct).astype(float), strict=True))
            found[anchor] = UserVectors(users, np.array([vectors[text] for text in texts]))
    num_users = sum(len(one.users) for one in found.values())
    cost = Cost(1000 * clock.seconds / max(1, num_users), BYTES_PER_NUMBER * encoder.dim)
    return Vectors(lambda query, anchor: found[anchor], cost)
