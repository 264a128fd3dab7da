"""Forward utility: whether a profile predicts what its user does next.

AlignXplore+ (arXiv 2601.04963) rewards a summary by how well the next interactions are chosen over rejected ones
when only the summary is read, and adds what later interactions say with a discount. Here that is a measurement of past
days, never a feature: the reader is a rule, which believes a value as much as the text says of it.
"""

# U users, F facets, T values

from collections.abc import Mapping, Sequence
from hashlib import md5

import numpy as np

from updater.profile.facets import Facets, Int64
from updater.profile.profile import Profile

DISCOUNT = 0.9
"""Of each further day; the discount of the paper's cumulative reward."""


def named_values(profile: Profile, facets: Sequence[Facets]) -> dict[tuple[str, str], float]:
    """How much a text says for each (modality, value) that it names as going on: the shares of the two weights, added.

    What is `no longer`, and what something shifted from, counts nothing, as what is not named.
    """
    named: dict[tuple[str, str], float] = {}
    for mention in profile.mentions:
        if mention.goes_on:
            found, facet = facets[mention.modality], mention.facets[-1]
            named[found.events.modality, found.events.values[found.value_F[facet]]] = float(found.shares_F[facet])
    return named


def rejected_value(popularity_T: Int64, chosen: int, event: str) -> int | None:
    """An alternative to the chosen value: drawn by popularity, so that popularity alone does not decide.

    Args:
        popularity_T: how often each value of the modality occurs among all users, before the day.
        chosen: the position of the value of the event; `-1` for one that nobody had before.
        event: names the event; by its hash the same value is drawn again.

    Returns:
        The position of the value; None if there is no other.
    """
    others_T = popularity_T.copy()
    if chosen >= 0:
        others_T[chosen] = 0
    ends_T = np.cumsum(others_T)
    total = int(ends_T[-1]) if len(ends_T) else 0
    if not total:
        return None
    place = int.from_bytes(md5(event.encode(), usedforsecurity=False).digest()[:8], "big") % total
    return int(np.searchsorted(ends_T, place, side="right"))


def wins(chosen: float, rejected: float) -> float:
    """1 if the chosen value has the larger score, 1/2 if neither has, 0 if the rejected one has."""
    return 0.5 if chosen == rejected else float(chosen > rejected)


def score(named: Mapping[tuple[str, str], float], modality: str, value: str) -> float:
    """What a text says for a value."""
    return named.get((modality, value), 0.0)
