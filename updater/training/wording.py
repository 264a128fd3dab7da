"""How training words its questions about the future, in one place: a model is asked in words like those it knows."""

from typing import Literal

Measure = Literal["events", "days", "total", "kinds", "new_kinds", "change", "share"]

WORDINGS: dict[Measure, tuple[str, ...]] = {
    "events": (
        "{what} events in the next {days} days?",
        "Will this user buy {thing} in the next {span}?",
        "Is there going to be any {thing} from this customer over the coming {span}?",
        "Who is likely to have {thing} within {span}?",
        "Do we expect this household to come for {thing} soon?",
        "{thing} for this person, yes or no, {span} ahead?",
        "Which users should hear about {thing} now?",
        "Would an offer of {thing} find a taker here?",
        "How probable is {thing} on the next visits?",
        "Is {thing} what they will look for after the weekend?",
        "Customers with {thing} among their plans for the month",
        "Does {thing} belong to the routine of this account?",
    ),
    "days": (
        "Days with {what} events in the next {days} days?",
        "How often will this user have {thing} in the next {span}?",
        "On how many days can we expect {thing} from this customer over the coming {span}?",
        "Who has {thing} most often within {span}?",
    ),
    "total": (
        "{column} of {what} events in the next {days} days?",
        "What will {column} of {thing} come to for this user in the next {span}?",
        "Is this customer going to have much {column} of {thing} over the coming {span}?",
        "Whose {thing} adds up to the most {column} within {span}?",
    ),
    "kinds": (
        "Kinds of {what} events in the next {days} days?",
        "How many kinds of {thing} will this user have in the next {span}?",
        "How varied is {thing} going to be for this customer over the coming {span}?",
        "Who has the widest range of {thing} within {span}?",
    ),
    "new_kinds": (
        "New kinds of {what} events in the next {days} days?",
        "Will this user try new kinds of {thing} in the next {span}?",
        "Is this customer going to have {thing} never seen from them before over the coming {span}?",
        "Who discovers other sorts of {thing} within {span}?",
    ),
    "change": (
        "Change of {column} of {what} events in the next {days} days?",
        "Will {column} of {thing} go up for this user in the next {span}?",
        "Is {column} of {thing} about to rise or to fall for this customer over the coming {span}?",
        "Whose {column} of {thing} grows or shrinks within {span}?",
    ),
    "share": (
        "Share of {what} events in the next {days} days?",
        "What part of this user's {all} will be {thing} in the next {span}?",
        "How much of this customer's {all} is going to be {thing} over the coming {span}?",
        "Who moves to {thing} within {span}?",
    ),
}
"""Of each measure; a step asks a question in one of them. The first is terse; the others teach a model which words of a
sentence matter."""
COUNT = "number"
"""Stands for a column in `change` where events are counted."""
SPANS = {7: "week", 14: "two weeks", 28: "four weeks"}
"""Days in words."""


def fill(template: str, modality: str, value: str = "", column: str = "", days: int = 0) -> str:
    """`template` with its places filled.

    They are {what} (a value of a modality's events, or all of them), {thing} (the value alone, or else the modality),
    {all} (the modality), {column}, {days} and {span} (the same in words). A name of the config reads as words.
    """
    of_modality = modality.replace("_", " ")
    places = {
        "{what}": " ".join(filter(None, (value, of_modality))),
        "{thing}": value or of_modality,
        "{all}": of_modality,
        "{column}": column.replace("_", " "),
        "{days}": str(days),
        "{span}": SPANS.get(days, f"{days} days"),
    }
    for place, word in places.items():
        template = template.replace(place, word)
    return template
