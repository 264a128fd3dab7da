"""How training words its questions about the future, in one place: a model is asked in the words that it knows."""

from typing import Literal

Measure = Literal["events", "days", "total", "kinds", "new_kinds", "change", "share"]

# Terse, because a step's cost is its tokens.
QUESTIONS: dict[Measure, str] = {
    "events": "{what} events in the next {days} days?",
    "days": "Days with {what} events in the next {days} days?",
    "total": "{column} of {what} events in the next {days} days?",
    "kinds": "Kinds of {what} events in the next {days} days?",
    "new_kinds": "New kinds of {what} events in the next {days} days?",
    "change": "Change of {column} of {what} events in the next {days} days?",
    "share": "Share of {what} events in the next {days} days?",
}
COUNT = "number"
"""Stands for a column in `change` where events are counted."""


def fill(template: str, modality: str, value: str = "", column: str = "", days: int = 0) -> str:
    """`template` with the places {what} (a value of a modality's events, or all of them), {column} and {days} filled.

    A name of the config reads as words.
    """
    words = " ".join(filter(None, (value, modality.replace("_", " "))))
    for place, word in {"{what}": words, "{days}": str(days), "{column}": column.replace("_", " ")}.items():
        template = template.replace(place, word)
    return template
