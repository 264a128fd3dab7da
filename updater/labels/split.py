"""Whom and when a model learns from, and whom and when it is evaluated on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from updater.domain import buckets
from updater.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Split:
    """Anchors in time. No label window reaches beyond an anchor of the next part.

    Within training, held-out users are left out as well; testing is on all users, and on the held-out ones alone.
    """

    train: tuple[date, ...]
    validation: tuple[date, ...] = ()
    test: tuple[date, ...]
    horizon_days: int = 28
    """The longest horizon of the tasks."""

    def __post_init__(self) -> None:
        parts = [part for part in (self.train, self.validation, self.test) if part]
        for earlier, later in pairwise(parts):
            end = max(earlier) + timedelta(days=self.horizon_days)
            if end > min(later):
                raise ConfigError(
                    f"labels of anchor {max(earlier)} reach to {end}, beyond anchor {min(later)} of the next part; "
                    "move the anchors apart."
                )


def is_held_out(users: Iterable[str]) -> NDArray[np.bool_]:
    """True for a fifth of the users, always the same ones: nothing is trained on them."""
    return np.array([buckets.is_held_out(user) for user in users], dtype=bool)
