"""Counts of events, the bar: how often each category within the history, and the same with half-lives."""

import numpy as np

from updater.sources.population import HISTORY_DAYS, Behaviour, PopulationSpec, Question, behaviour, questions
from updater.sources.population.behaviour import categories
from updater.sources.population.renewal import Floats

HALF_LIVES = (7, 21, 60)
"""Days."""


def counts(spec: PopulationSpec, question: Question, anchor: int, half_lives: tuple[int, ...] = ()) -> Floats:
    """log(1 + events) of each category of the question's kind, and of each half-life; shape (users, columns).

    For needs the categories are those of all needs that are asked about: what feeds the others is independent.
    """
    day, user, category, num = _events(spec, behaviour(spec), question.kind, anchor)
    age = anchor - day
    columns = []
    for weight in (np.ones(len(age)), *(0.5 ** (age / half_life) for half_life in half_lives)):
        sums = np.bincount(user * num + category, weights=weight, minlength=spec.num_users * num)
        columns.append(np.log1p(sums.reshape(spec.num_users, num)))
    return np.concatenate(columns, axis=1)


def _events(spec: PopulationSpec, lived: Behaviour, kind: str, anchor: int):
    """Day, user and category of the events in the history, and the number of categories."""
    known, first = lived.until(anchor, HISTORY_DAYS), max(anchor + 1 - HISTORY_DAYS, 0)
    if kind == "needs":
        asked = [question.number for question in questions() if question.kind == kind]
        day, need, user = np.nonzero(known.fed[:, : max(asked) + 1])
        chosen = [categories(spec, first + d, need[day == d], user[day == d]) for d in range(len(known.fed))]
        return first + day, user, 10 * need + np.concatenate(chosen), 10 * (max(asked) + 1)
    if kind == "order":
        day, chain, step, user = np.nonzero(known.steps)
        return first + day, user, 3 * chain + step, 3 * known.steps.shape[1]
    # Everybody is mailed on the same days, so that the number of mailings says nothing.
    day, user = np.nonzero(known.visits if kind == "regimes" else known.answers)
    return first + day, user, np.zeros_like(user), 1
