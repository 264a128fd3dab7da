"""The topics and directions that summaries are made of, from the users that a model is trained on."""

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import cast

import numpy as np
import torch

from updater.model.batch import Int64
from updater.model.event_topics import EventTopics
from updater.model.user_model import UserModel
from updater.training.profiles import Profiles
from updater.users.event_batches import UserEvents

MOST_PROFILES = 20_000
"""Profiles that they are taken from, over all anchor days."""
PROFILES_PER_BATCH = 512


def fit_projections(model: UserModel, profiles: Mapping[date, Profiles], left_out: Collection[str]) -> None:
    """Fit each modality's `EventTopics` and then its `SummaryProjection` to the profiles of users not `left_out`.

    Equal profiles give equal weights, whatever the order of the days.
    """
    chosen = dict(_chosen(profiles, left_out))
    for number, topics in enumerate(model.prefix.event_topics):
        told = [(profiles[anchor].events[number], rows) for anchor, rows in chosen.items()]
        cast(EventTopics, topics).fit(*_texts(told))
    found: list[list[np.ndarray]] = [[] for _ in model.config.modalities]
    with torch.no_grad():
        for anchor, kept in chosen.items():
            for start in range(0, len(kept), PROFILES_PER_BATCH):
                batch = profiles[anchor].overview(kept[start : start + PROFILES_PER_BATCH])
                for rows, (features, present_B) in zip(found, model.prefix.features(batch), strict=True):
                    rows.append(features[present_B])
    if all(found):
        model.prefix.fit([torch.from_numpy(np.concatenate(rows)) for rows in found])


def _chosen(profiles: Mapping[date, Profiles], left_out: Collection[str]) -> Iterator[tuple[date, Int64]]:
    """Of each anchor day the rows that are looked at, evenly spread over the users, who are sorted by name."""
    most = -(-MOST_PROFILES // max(1, len(profiles)))
    for anchor in sorted(profiles):
        kept = [row for row, user in enumerate(profiles[anchor].users.tolist()) if user not in left_out]
        yield anchor, np.array(kept[:: max(1, -(-len(kept) // most))], dtype=np.int64)


def _texts(told: list[tuple[UserEvents, Int64]]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct texts of some users' events over all days, sorted by id: vectors (T, X) and numbers of events."""
    counts: dict[bytes, int] = {}
    vectors: dict[bytes, np.ndarray] = {}
    for events, users in told:
        rows = events.text_rows_N[events.rows_of(users)[0]]
        num_events = np.bincount(rows, minlength=len(events.text_ids))
        for row in np.flatnonzero(num_events):
            text = events.text_ids[row]
            counts[text] = counts.get(text, 0) + int(num_events[row])
            vectors[text] = events.texts_TV[row]
    order = sorted(counts)
    if not order:
        return np.zeros((0, 0), np.float32), np.zeros(0, np.int64)
    return np.stack([vectors[text] for text in order]).astype(np.float32), np.array([counts[text] for text in order])
