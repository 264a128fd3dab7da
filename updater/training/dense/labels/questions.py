"""Which questions are asked of every profile: they follow from the declared modalities and from what the log names."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from updater.domain.declared.modality import Modality
from updater.training.wording import COUNT, WORDINGS, Measure, fill

SHORT_DAYS = 7
FEWEST_VALUES = 4
"""Of a column with at most so many values also the share of each is asked for."""

Column = tuple[str, str]
"""Modality and text column."""


@dataclass(frozen=True)
class Question:
    """One thing to ask about a user's future, with five yes-or-no answers.

    With a `value` and the measure `events` the answers are on how many distinct days it occurs, and how soon (see
    `outcomes.COUNTED`); otherwise whether a measure exceeds quantiles of what it is for all profiles.
    """

    measure: Measure
    modality: str
    column: str = ""
    """The text column that has `value`, or the numeric column that is added up; empty for all events."""
    value: str = ""
    days: int = 28

    @property
    def texts(self) -> tuple[str, ...]:
        """In words, in every wording of training; no two are alike."""
        column = "" if self.value else self.column
        filled = (fill(words, self.modality, self.value, column, self.days) for words in WORDINGS[self.measure])
        return tuple(dict.fromkeys(filled))

    @property
    def text(self) -> str:
        """In the tersest of them, which no other question has."""
        return self.texts[0]

    @property
    def is_counted(self) -> bool:
        """True if its answers count days with a value, the same five for every such question."""
        return self.measure == "events" and bool(self.value)


def make_questions(
    modalities: Iterable[Modality], values: Mapping[Column, Sequence[str]], never: Collection[str], days: int
) -> list[Question]:
    """All questions, those about days with a value first; no two of them have the same words.

    Args:
        modalities: as declared; snapshots have no future.
        values: what is asked about of each text column.
        never: values that no question names, whatever column they are in.
        days: length of the future.
    """
    named = {column: [value for value in known if value not in never] for column, known in values.items()}
    counted = [Question("events", *column, value, days) for column, known in named.items() for value in known]
    others = [question for m in modalities if m.kind == "stream" for question in _measured(m, days)]
    for column, known in named.items():
        if len(values[column]) <= FEWEST_VALUES:
            others += [Question("share", *column, value, days) for value in known]
    return list({question.text: question for question in (*reversed(others), *reversed(counted))}.values())[::-1]


def _measured(modality: Modality, days: int) -> list[Question]:
    name, short = modality.name, min(SHORT_DAYS, days)
    found = [Question("events", name, days=days), Question("days", name, days=days)]
    found += [Question("change", name, COUNT, days=days)]
    if short < days:
        found.insert(0, Question("events", name, days=short))
    if modality.category:
        found += [Question("kinds", name, days=days), Question("new_kinds", name, days=days)]
    for column in modality.numeric:
        found += [Question("total", name, column, days=days), Question("change", name, column, days=days)]
    return found
