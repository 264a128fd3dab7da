"""The directions that summaries are made of, from the users that a model is trained on."""

from collections.abc import Collection, Mapping
from datetime import date

import numpy as np
import torch

from updater.model.features import newest_event, summary_features
from updater.model.user_model import UserModel
from updater.training.profiles import Profiles

MOST_PROFILES = 20_000
"""Profiles that the directions are taken from, over all anchor days."""
PROFILES_PER_BATCH = 512


def fit_projections(model: UserModel, profiles: Mapping[date, Profiles], left_out: Collection[str]) -> None:
    """Fit each modality's `SummaryProjection` to the profiles of users that are not `left_out`.

    Equal profiles give equal weights, whatever the order of the days.
    """
    config = model.config
    found: list[list[np.ndarray]] = [[] for _ in config.modalities]
    most = -(-MOST_PROFILES // max(1, len(profiles)))
    for anchor in sorted(profiles):
        known = profiles[anchor]
        kept = [row for row, user in enumerate(known.users.tolist()) if user not in left_out]
        # Evenly spread over the users, who are sorted by name.
        kept = kept[:: max(1, -(-len(kept) // most))]
        for start in range(0, len(kept), PROFILES_PER_BATCH):
            batch = known.batch(np.array(kept[start : start + PROFILES_PER_BATCH]))
            newest_B = newest_event(batch)
            for rows, modality, part in zip(found, config.modalities, batch.modalities, strict=True):
                features, present_B = summary_features(config, modality, part, newest_B)
                rows.append(features[present_B])
    if all(found):
        model.prefix.fit([torch.from_numpy(np.concatenate(rows)) for rows in found])
