"""Which profiles share a step: of one anchor day and of like length, in an order that follows from seed and step."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise

import numpy as np

from updater.errors import ConfigError
from updater.model.batch import Int64

STRETCH = 16
"""Steps of users that are sorted by length together."""


def profiles_of_step(keys: Sequence[tuple[date, int]], sizes: Int64, size: int, seed: int, step: int) -> Int64:
    """Positions in `keys` of the profiles of a step, over all processes; every epoch takes each profile once.

    Args:
        keys: anchor day and row of each profile, sorted.
        sizes: their lengths.
        size: profiles of a step.
        seed: decides the order.
        step: from 0.

    Raises:
        ConfigError: no anchor day has `size` profiles.
    """
    ends = np.flatnonzero([*(a != b for (a, _), (b, _) in pairwise(keys)), True]) + 1
    per_epoch = sum(length // size for length in np.diff([0, *ends]))
    epoch, place = divmod(step, max(1, per_epoch))
    rng = np.random.default_rng((seed, epoch))
    groups: list[Int64] = []
    for start, end in pairwise([0, *ends]):
        order = rng.permutation(np.arange(start, end))
        # Sorted within stretches of the order only, or a profile would meet the same ones in every epoch.
        for first in range(0, len(order) - size + 1, size * STRETCH):
            part = order[first : first + size * STRETCH]
            part = part[np.argsort(sizes[part], kind="stable")]
            groups += [part[k : k + size] for k in range(0, len(part) - size + 1, size)]
    if not groups:
        raise ConfigError(
            f"No anchor day has {size} profiles to train on, as many as a step takes; lower training.users_per_step "
            "(layers_users_per_step with the layers), or train on more users."
        )
    group: Int64 = groups[rng.permutation(len(groups))[place % len(groups)]]
    return group
