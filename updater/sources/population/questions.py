"""What is asked of the population: labels, and the best score that anybody can give who reads the history."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from updater.sources.population import kinds
from updater.sources.population.behaviour import Behaviour
from updater.sources.population.renewal import Floats
from updater.sources.population.vocabulary import STEPS, need_names

HISTORY_DAYS = 90
"""What is known of a user by default: as much as a buffer of the usual length holds."""
_NUM_NEEDS_ASKED = 8
_ACTIVE_DAYS = 14


@dataclass(frozen=True)
class Question:
    """A yes-or-no question about the days after an anchor day."""

    name: str
    kind: str
    text: str
    """As a person would ask."""
    horizon_days: int
    number: int = 0
    """Of the need or the chain."""

    def asked_of(self, all_days: Behaviour, anchor: int) -> NDArray[np.bool_]:
        """Of whom it is asked: everybody, or for lapse those who came in the last two weeks; shape (users,)."""
        if self.kind != "regimes":
            return np.ones(all_days.visits.shape[1], bool)
        return np.asarray(all_days.until(anchor, _ACTIVE_DAYS).visits.any(axis=0))

    def label(self, all_days: Behaviour, anchor: int) -> NDArray[np.bool_]:
        """The answer, from the days after the anchor; shape (users,).

        Raises:
            ValueError: the history ends before the answer is known.
        """
        end = anchor + 1 + self.horizon_days
        if end > len(all_days.visits):
            raise ValueError(f"the answer of {self.name} at day {anchor} needs {end} days, of {len(all_days.visits)}.")
        ahead = slice(anchor + 1, end)
        events = {
            "needs": lambda: all_days.fed[ahead, self.number],
            "order": lambda: all_days.steps[ahead, self.number, 2],
            "regimes": lambda: all_days.visits[ahead],
            "response": lambda: all_days.answers[ahead],
        }[self.kind]()
        happens = np.asarray(events.any(axis=0))
        return ~happens if self.kind == "regimes" else happens

    def best_score(self, all_days: Behaviour, anchor: int, history_days: int = HISTORY_DAYS) -> Floats:
        """P(yes | the last `history_days` days up to the anchor), exactly; shape (users,).

        No score that reads those days has a higher expected AUC.
        """
        known = all_days.until(anchor, history_days)
        if self.kind == "needs":
            return kinds.needs().next_within(known.fed[:, self.number], self.horizon_days)
        if self.kind == "order":
            return kinds.order().next_within(known.steps[:, self.number], self.horizon_days)
        if self.kind == "regimes":
            return 1.0 - kinds.regimes().next_within(known.visits, self.horizon_days)
        start = anchor + 1 - len(known.answers)
        return kinds.response().next_within(known.answers, start, self.horizon_days)


def questions() -> list[Question]:
    """Eight needs, the three chains, lapse, and the next mailing."""
    return [
        *(
            Question(
                f"needs_{name.replace(' ', '_')}",
                "needs",
                f"Will this user buy any kind of {name} in the next week?",
                7,
                n,
            )
            for n, name in list(enumerate(need_names()))[:_NUM_NEEDS_ASKED]
        ),
        *(
            Question(f"order_{n}", "order", f"How likely is it that this user {c} in the next week?", 7, n)
            for n, (_, _, c) in enumerate(STEPS)
        ),
        Question("regimes_lapse", "regimes", "Will this user stop visiting for the next three weeks?", 21),
        Question("response_next", "response", "Will this user answer a mailing in the next ten days?", 10),
    ]
