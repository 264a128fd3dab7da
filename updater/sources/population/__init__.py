"""A made-up population of whom the best possible prediction is known. No row of it is about a real person.

Every user's hidden state has finitely many values, so the chance of every label given the history is computed exactly,
by forward filtering. A system's AUC on it can be held against the highest that anybody can reach: `questions.py` has
both. Users behave in four ways that counts of events do not show: needs that different categories feed (`renewal.py`),
steps whose order matters (`order.py`), visits whose spacing predicts lapse, and mailings answered soon or late
(`response.py`).
"""

from updater.sources.population.behaviour import Behaviour, behaviour
from updater.sources.population.history import land, rows_of_day, user_ids
from updater.sources.population.questions import HISTORY_DAYS, Question, questions
from updater.sources.population.spec import KINDS, MODALITIES, PopulationSpec

__all__ = [
    "HISTORY_DAYS",
    "KINDS",
    "MODALITIES",
    "Behaviour",
    "PopulationSpec",
    "Question",
    "behaviour",
    "land",
    "questions",
    "rows_of_day",
    "user_ids",
]
