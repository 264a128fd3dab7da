"""D_future in close-up: single questions about what a user does next, each with a counted and rounded answer.

The paper's fixed question (`future`) asks for everything at once. These ask for one source, one amount or one category,
over one week or the whole future, so that an embedding learns to answer the question that it is asked. They follow from
the config's modalities alone and know nothing of label tasks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from math import floor, log2
from random import Random
from typing import TypeVar

from updater.domain.declared.modality import Modality
from updater.domain.fingerprint import fingerprint
from updater.training.useru.facts.events import Event, Future, Profile
from updater.training.wording import COUNT, WORDINGS, Measure, fill

CATEGORIES_PER_ANCHOR = 40
AMOUNTS_PER_ANCHOR = 25
SHORT_DAYS = 7

T = TypeVar("T")
Kind = tuple[str, str]
"""Modality and category."""

_ANSWERS: dict[Measure, str] = {
    "events": "{value} {what} events.",
    "days": "{what} events on {value} days.",
    "total": "{column} of {what} events: {value}.",
    "kinds": "{value} kinds of {what} events.",
    "new_kinds": "{value} new kinds of {what} events.",
    "change": "{column} of {what} events: {value}.",
}


@dataclass(frozen=True)
class Focus:
    """One thing to ask about a user's future."""

    measure: Measure
    modality: str
    category: str = ""
    column: str = ""
    days: int = 28

    @property
    def name(self) -> str:
        """Of the topic, unique per profile."""
        return ".".join(
            filter(None, ("focus", self.modality, self.category, self.column, self.measure, str(self.days)))
        )

    @property
    def question(self) -> str:
        """In words."""
        return self._worded(WORDINGS[self.measure][0])

    def answer(self, profile: Profile, future: Future) -> str:
        """What the log says, rounded so that an answer is one of few."""
        return self._worded(_ANSWERS[self.measure]).replace("{value}", self._value(profile, future))

    def _worded(self, template: str) -> str:
        return fill(template, self.modality, self.category, self.column, self.days)

    def _value(self, profile: Profile, future: Future) -> str:
        held = self._held(future)
        if self.measure == "events":
            return rounded_count(len(held))
        if self.measure == "days":
            return rounded_count(len({event.day for event in held}))
        kinds = {event.category for event in held} - {""}
        if self.measure == "kinds":
            return rounded_count(len(kinds))
        if self.measure == "new_kinds":
            known = {event.category for event in profile.events if event.modality == self.modality}
            return rounded_count(len(kinds - known))
        after = _amount(held, self.column)
        if self.measure == "total":
            return rounded_amount(after)
        before = _amount([event for event in profile.events if event.modality == self.modality], self.column)
        return changed(before * self.days / profile.num_days, after)

    def _held(self, future: Future) -> list[Event]:
        first = future.start.date()
        return [
            event
            for event in future.events
            if event.modality == self.modality
            and (not self.category or event.category == self.category)
            and (event.day - first).days < self.days
        ]


def rounded_count(count: int) -> str:
    """A count as a word or a range: none, 1, 2, then ranges that double."""
    if count <= 2:
        return ("no", "1", "2")[count]
    low = 3 * 2 ** floor(log2(count / 3))
    return f"{low} to {2 * low - 1}"


def rounded_amount(amount: float) -> str:
    """An amount as a range whose ends are powers of two."""
    if amount < 1:
        return "less than 1"
    low = 2 ** floor(log2(amount))
    return f"{low} to {2 * low}"


def changed(before: float, after: float) -> str:
    """How an amount compares with what it was in a period of the same length."""
    if after <= 0:
        return "none at all"
    if before <= 0:
        return "begins"
    ratio = after / before
    bounds = ((0.5, "less than half"), (0.8, "less"), (1.25, "about the same"), (1.5, "more"))
    return next((word for bound, word in bounds if ratio < bound), "more than half as much again")


def shared_questions(
    modalities: Sequence[Modality], common: Sequence[Kind], never: Iterable[Kind], days: int, anchor: date
) -> list[Focus]:
    """What is asked about the future of every user of an anchor day: some amounts, and some categories.

    All users are asked the same, so that an answer is distinguished from the question's other answers, and not only
    other questions' answers, whose words already give them away. Another anchor day asks other questions.

    Args:
        modalities: as declared; snapshots have no future.
        common: categories of the lake, most frequent first; half of those asked about are from the first quarter.
        never: categories that are not asked about, kept for questions that nothing was trained on.
        days: length of the future.
        anchor: decides the choice.
    """
    random = Random(int(fingerprint("focus", anchor)[:16], 16))
    streams = [modality for modality in modalities if modality.kind == "stream"]
    amounts = [focus for modality in streams for focus in _amounts(modality, days)]
    held_back = set(never)
    open_kinds = [kind for kind in common if kind not in held_back]
    quarter = -(-len(open_kinds) // 4)
    half = CATEGORIES_PER_ANCHOR // 2
    kinds = _some(random, open_kinds[:quarter], half) + _some(random, open_kinds[quarter:], half)
    return _some(random, amounts, AMOUNTS_PER_ANCHOR) + [
        Focus("events", modality, category, days=random.choice((min(SHORT_DAYS, days), days, days)))
        for modality, category in kinds
    ]


def _amounts(modality: Modality, days: int) -> list[Focus]:
    short = min(SHORT_DAYS, days)
    found = [Focus("events", modality.name, days=short), Focus("events", modality.name, days=days)]
    found += [Focus("days", modality.name, days=days), Focus("change", modality.name, column=COUNT, days=days)]
    if modality.category:
        found += [Focus("kinds", modality.name, days=days), Focus("new_kinds", modality.name, days=days)]
    for column in modality.numeric:
        found += [Focus("total", modality.name, column=column, days=days)]
        found += [Focus("change", modality.name, column=column, days=days)]
    return found


def _some(random: Random, items: Sequence[T], count: int) -> list[T]:
    return random.sample(items, min(count, len(items)))


def _amount(events: Sequence[Event], column: str) -> float:
    if column == COUNT:
        return float(len(events))
    return sum(event.numbers.get(column, 0.0) for event in events)
