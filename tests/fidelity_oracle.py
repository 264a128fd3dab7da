"""Who has read the whole log answers every question: by loops over rows, with nothing of the product's code."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from tests.fidelity_log import Event


class Oracle:
    """Knows what had landed by the end of `ds`, a day of UTC, and what came in the days after it."""

    def __init__(self, log: Sequence[Event], ds: date, buffer_days: int, horizon_days: int) -> None:
        self.as_of = datetime.combine(ds + timedelta(days=1), time(), UTC)
        self.buffer_days = buffer_days
        past, later = _known(log, ds), _known(log, ds + timedelta(days=horizon_days))
        end = self.as_of + timedelta(days=horizon_days)
        self.past = _by_user(e for e in past if self.days_ago(buffer_days) <= e.time < self.as_of)
        self.later = _by_user(e for e in later if self.as_of <= e.time < end)

    def days_ago(self, days: int) -> datetime:
        return self.as_of - timedelta(days=days)

    def answer(self, question: dict[str, Any]) -> int:
        """Position of the one option that the log bears out. Raises AssertionError if it is not exactly one."""
        user, modality = question["user_id"], question["modality"]
        asked, what, *more = question["slot"].split(":")
        assert asked == question["subtask"]
        events = [e for e in self.past[user] if modality in ("", e.modality)]
        if asked == "DF":
            right = _at(events, int(more[0].removeprefix("last")), by_modality=not modality)
        elif asked == "MF" and what == "modality":
            right = {_only_most_common([e.modality for e in events])}
        elif asked == "MF":
            since = self.days_ago(int(more[0].removesuffix("d")))
            value = what.partition("=")[2]
            found = [e for e in events if e.time >= since and value in ("", e.value)]
            right = {option for option in question["options"] if _fits(len(found), option)}
        elif asked == "LI" and more[1:] == ["top3"]:
            counts = Counter(e.value for e in events if e.value).most_common()
            assert len(counts) > 3 and counts[2][1] > counts[3][1]
            right = {"; ".join(names) for names in _orders([name for name, _ in counts[:3]])}
        elif asked == "LI":
            right = {_only_most_common([e.value for e in events])}
        elif asked == "SI":
            recent = self._recent(events, more[0])
            right = {_only_most_common([e.value for e in recent])}
            counts = Counter(e.value for e in events if e.value)
            assert (counts[next(iter(right))] < max(counts.values())) == (more[-1] == "differs")
        elif asked == "IT":
            bounds = [self.days_ago(self.buffer_days * left // 3) for left in (3, 2, 1, 0)]
            thirds = [[e.value for e in events if bounds[n] <= e.time < bounds[n + 1]] for n in range(3)]
            right = {" -> ".join(_only_most_common(values) for values in thirds)}
        else:
            later = [e for e in self.later[user] if e.modality == modality]
            first = min(e.time for e in later)
            right = {_what(e, asked) for e in later if e.time == first}
            had = {_what(e, asked) for e in events}
            offered = [option for option in question["options"] if option in had]
            # Nobody is misled by what the user has had: at most the right one is of that.
            assert offered == [] if more[-1] == "new" else len(offered) == 1 and offered[0] in right
        answers = [position for position, option in enumerate(question["options"]) if option in right]
        assert len(answers) == 1, (question, right)
        return answers[0]

    def _recent(self, events: list[Event], which: str) -> list[Event]:
        if which.endswith("d"):
            return [e for e in events if e.time >= self.days_ago(int(which[:-1]))]
        tenth = sorted(e.time for e in events)[-int(which.removeprefix("last"))]
        return [e for e in events if e.time >= tenth]


def _known(log: Sequence[Event], last: date) -> list[Event]:
    newest: dict[tuple[str, str, str], Event] = {}
    for e in sorted((e for e in log if e.landed <= last), key=lambda e: e.landed):
        newest[e.user, e.modality, e.event_id] = e
    return [e for e in newest.values() if not e.deleted]


def _by_user(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for e in events:
        found.setdefault(e.user, []).append(e)
    return found


def _what(e: Event, asked: str) -> str | None:
    return e.text if asked == "IP" else e.value


def _at(events: list[Event], k: int, by_modality: bool) -> set[str | None]:
    moment = sorted({e.time for e in events}, reverse=True)[k - 1]
    return {e.modality if by_modality else e.value for e in events if e.time == moment}


def _only_most_common(values: Sequence[str | None]) -> str:
    counts = Counter(value for value in values if value).most_common()
    assert len(counts) == 1 or counts[0][1] > counts[1][1]
    return counts[0][0]


def _fits(count: int, option: str) -> bool:
    first, _, last = option.partition(" to ")
    return int(first) <= count <= int(last or first)


def _orders(names: list[str]) -> list[list[str]]:
    if len(names) < 2:
        return [names]
    return [[name, *rest] for name in names for rest in _orders([other for other in names if other != name])]
