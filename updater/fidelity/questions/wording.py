"""What questions are called and how they are said.

A slot says what is asked and nothing of the user, so that all who are asked it can be answered by one probe.
"""

from dataclasses import dataclass
from typing import Final

TEMPLATE_VERSION: Final = 1
"""Goes into every question's id: raise it with any change of a definition or of a wording."""
SEQUENCE, SET = " -> ", "; "
"""Between the parts of an option of IT, and of one that is a set."""
_MOST_ACTIVE = "MF:modality:"
_AT_ONCE = "Events at the same moment count as one."
_ORDINALS = {1: "most recent", 2: "second most recent", 3: "third most recent"}


@dataclass(frozen=True)
class Slot:
    """What is asked."""

    subtask: str
    modality: str
    """Empty for all modalities."""
    attribute: str
    """Empty where none is asked for."""
    name: str
    text: str


def parts(option: str) -> tuple[str, ...]:
    """The values of an option: several for IT (in their order) and for sets, otherwise the option itself."""
    return tuple(option.split(SEQUENCE if SEQUENCE in option else SET))


def counts_events(slot: str) -> bool:
    """True if the options of a slot, by its name, are numbers of events, and not values."""
    return slot.startswith("MF:") and not slot.startswith(_MOST_ACTIVE)


def direct(modality: str, attribute: str, k: int) -> Slot:
    """The value of the k-th last event."""
    nth = _ORDINALS.get(k, f"{k}th most recent")
    if not modality:
        return Slot("DF", "", "", f"DF:modality:last{k}", f"What kind of event was this user's {nth} one? {_AT_ONCE}")
    text = f"Which {_words(attribute)} did this user's {nth} {_words(modality)} event have? {_AT_ONCE}"
    return Slot("DF", modality, attribute, f"DF:{modality}.{attribute}:last{k}", text)


def number_of_value(modality: str, attribute: str, value: str, days: int) -> Slot:
    """How many events have a value."""
    text = (
        f"How many {_words(modality)} events with {_words(attribute)} {value} did this user have in the {_last(days)}?"
    )
    return Slot("MF", modality, attribute, f"MF:{modality}.{attribute}={value}:{days}d", text)


def number_of_events(modality: str, days: int) -> Slot:
    """How many events there are, of a modality or of all."""
    what = f"{_words(modality)} events" if modality else "events of any kind"
    name = f"MF:{modality or 'all'}:{days}d"
    return Slot("MF", modality, "", name, f"How many {what} did this user have in the {_last(days)}?")


def most_active(days: int) -> Slot:
    """The modality with the most events."""
    text = f"What kind of event did this user have most often in the {_last(days)}?"
    return Slot("MF", "", "", f"{_MOST_ACTIVE}{days}d", text)


def long_term(modality: str, attribute: str, days: int) -> Slot:
    """The most frequent value of the whole buffer."""
    text = f"Which {_words(attribute)} did this user's {_words(modality)} events have most often in the {_last(days)}?"
    return Slot("LI", modality, attribute, f"LI:{modality}.{attribute}:{days}d", text)


def long_term_three(modality: str, attribute: str, days: int) -> Slot:
    """The three most frequent values of the whole buffer, as a set."""
    text = (
        f"Which three values of {_words(attribute)} did this user's {_words(modality)} events have most often in the "
        f"{_last(days)}?"
    )
    return Slot("LI", modality, attribute, f"LI:{modality}.{attribute}:{days}d:top3", text)


def short_term(modality: str, attribute: str, recent: str, when: str, differs: bool) -> Slot:
    """The most frequent value of late; `differs`: of users for whom it is not the one of the whole buffer."""
    name = f"SI:{modality}.{attribute}:{recent}" + (":differs" if differs else "")
    text = f"Which {_words(attribute)} did this user's {_words(modality)} events have most often {when}?"
    return Slot("SI", modality, attribute, name, text)


def of_last_days(days: int) -> str:
    """When: the last days."""
    return f"in the {_last(days)}"


def trajectory(modality: str, attribute: str, days: int) -> Slot:
    """How the most frequent value changed."""
    text = (
        f"How did the most frequent {_words(attribute)} of this user's {_words(modality)} events change over the "
        f"{_last(days)}, from the first third of them to the second and the third?"
    )
    return Slot("IT", modality, attribute, f"IT:{modality}.{attribute}:{days}d", text)


def next_event(modality: str, days: int, is_new: bool) -> Slot:
    """The next event itself; `is_new`: of users who have not had it before."""
    text = f"Which will this user's next {_words(modality)} event be, within the next {_days(days)}?"
    return Slot("IP", modality, "text", f"IP:{modality}.text:{days}d" + _new(is_new), text)


def next_value(modality: str, attribute: str, days: int, is_new: bool) -> Slot:
    """The value of the next event; `is_new`: of users who have not had it before."""
    what, kind = _words(attribute), _words(modality)
    text = f"Which {what} will this user's next {kind} event have, within the next {_days(days)}?"
    return Slot("AP", modality, attribute, f"AP:{modality}.{attribute}:{days}d" + _new(is_new), text)


def bucket_name(bucket: int) -> str:
    """Counts of a bucket on a scale of base 2: 0, 1, 2 to 3, 4 to 7, …"""
    return str(bucket) if bucket < 2 else f"{2 ** (bucket - 1)} to {2**bucket - 1}"


def _new(is_new: bool) -> str:
    return ":new" if is_new else ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _last(days: int) -> str:
    return "last day" if days == 1 else f"last {days} days"


def _days(days: int) -> str:
    return "day" if days == 1 else f"{days} days"
