"""Foresight: how well the user's text lately told what came next, as a feature that a rebuild gives again.

Each value that occurs on one of the last seven days of a user (days of 24 hours, counted back from the newest event) is
asked about: the text of all that happened before that day has to prefer it to the user's own earlier values, each
of which counts as often as it had occurred. So it is a function of the user's events, and of nothing later than the
newest one: AlignXplore+'s reward (arXiv 2601.04963) on days that are past, with alternatives of the user's own.
"""

# U users, P past looks (a user before one of their days), N events, Q questions, F facets

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from updater.domain.declared.profile import ProfileChoice
from updater.profile.facets import DAY, NEVER, CountedEvents, Facets, Int64, count_facets
from updater.profile.render import choose
from updater.profile.rules import mentions

NUM_DAYS = 7
DECIMALS = 4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Foresight:
    """Of U users."""

    questions_U: Int64
    """Values of the last days that had an alternative."""
    right_U: Floats
    """Share of the alternatives to which the text preferred what came, a half where it said the same; NaN: none."""


def foresight(events: Sequence[CountedEvents], newest_U: Int64, choice: ProfileChoice) -> Foresight:
    """How well texts of the days before told the last days' values.

    Args:
        events: per counted modality; a state has no past and is passed over.
        newest_U: each user's newest event time over all modalities, in microseconds; `NEVER` without any.
        choice: of the texts.
    """
    num_users = len(newest_U)
    streams = [part for part in events if not part.is_state]
    ages = [(newest_U[part.user_N] - part.time_N) // DAY for part in streams]
    # A look for each day of a user on which something was counted.
    days = [part.user_N * NUM_DAYS + age for part, age in zip(streams, ages, strict=True)]
    on_time = [day[age < NUM_DAYS] for day, age in zip(days, ages, strict=True)]
    look_P = np.unique(np.concatenate([*on_time, np.zeros(0, np.int64)]))
    before = [_before(part, age, look_P) for part, age in zip(streams, ages, strict=True)]
    newest_P = np.full(len(look_P), NEVER)
    for part in before:
        np.maximum.at(newest_P, part.user_N, part.time_N)
    found = [count_facets(part, newest_P, choice.long_half_life_days, choice.short_half_life_days) for part in before]
    scores = _scores(found, newest_P, choice)
    asked_U, right_U = np.zeros(num_users, np.int64), np.zeros(num_users)
    for part, day, age, facets, score_F in zip(streams, days, ages, found, scores, strict=True):
        recent = age < NUM_DAYS
        asked = np.unique(np.searchsorted(look_P, day[recent]) * len(part.values) + part.value_N[recent])
        look_Q, value_Q = asked // max(len(part.values), 1), asked % max(len(part.values), 1)
        right_Q, has_other_Q = _answers(facets, score_F, look_Q, value_Q)
        user_Q = look_P[look_Q[has_other_Q]] // NUM_DAYS
        asked_U += np.bincount(user_Q, minlength=num_users)
        right_U += np.bincount(user_Q, weights=right_Q[has_other_Q], minlength=num_users)
    with np.errstate(invalid="ignore"):
        return Foresight(asked_U, np.round(right_U / asked_U, DECIMALS))


def _before(events: CountedEvents, age_N: Int64, look_P: Int64) -> CountedEvents:
    """The events of each look: those of its user that are older than its day."""
    parts = []
    for day in range(NUM_DAYS):
        looks = np.flatnonzero(look_P % NUM_DAYS == day)
        look_of_user = np.full(events.num_users, -1)
        look_of_user[look_P[looks] // NUM_DAYS] = looks
        rows = np.flatnonzero((age_N > day) & (look_of_user[events.user_N] >= 0))
        parts.append((look_of_user[events.user_N[rows]], rows))
    look_N, row_N = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(look_N, kind="stable")
    look_N, row_N = look_N[order], row_N[order]
    return replace(
        events, num_users=len(look_P), user_N=look_N, value_N=events.value_N[row_N], time_N=events.time_N[row_N]
    )


def _scores(found: Sequence[Facets], newest_P: Int64, choice: ProfileChoice) -> list[Floats]:
    """What the texts say for each facet."""
    names = [choice.noun(facets.events.modality) for facets in found]
    scores = [np.zeros(len(facets.user_F)) for facets in found]
    for said in mentions(found, newest_P, choice):
        for mention in choose(said, names, choice.budget_tokens):
            if mention.goes_on:
                facet = mention.facets[-1]
                scores[mention.modality][facet] = found[mention.modality].shares_F[facet]
    return scores


def _answers(facets: Facets, score_F: Floats, look_Q: Int64, value_Q: Int64) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Share of the alternatives of each question that have the smaller score, and whether there are any."""
    start_Q = np.searchsorted(facets.user_F, look_Q)
    size_Q = np.searchsorted(facets.user_F, look_Q, side="right") - start_Q
    of = np.repeat(np.arange(len(look_Q)), size_Q)
    facet = np.arange(len(of)) - np.repeat(np.cumsum(size_Q) - size_Q, size_Q) + start_Q[of]
    is_own = facets.value_F[facet] == value_Q[of]
    own_Q = np.zeros(len(look_Q))
    own_Q[of[is_own]] = score_F[facet[is_own]]
    # Halves of whole numbers: their sums are exact.
    weight = np.where(is_own, 0, facets.count_F[facet])
    won = weight * (np.sign(own_Q[of] - score_F[facet]) + 1) / 2
    total_Q = np.bincount(of, weights=weight, minlength=len(look_Q))
    won_Q = np.bincount(of, weights=won, minlength=len(look_Q))
    has_other_Q = total_Q > 0
    return np.divide(won_Q, total_Q, out=np.zeros(len(look_Q)), where=has_other_Q), has_other_Q
