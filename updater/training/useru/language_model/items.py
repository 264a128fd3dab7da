"""Numbered texts, the form in which a language model is asked and replies: `{"items": [{"number": 1, "text": …}]}`."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

_DECODER = json.JSONDecoder()
_END_OF_THOUGHT = "</think>"


def written(items: Iterable[Mapping[str, Any]]) -> str:
    """Items as JSON, one a line."""
    return "\n".join(json.dumps(item, ensure_ascii=False) for item in items)


def read(reply: str) -> dict[int, str]:
    """The numbered texts of a reply, in its order; empty if there are none.

    Models wrap JSON in prose, code fences or thoughts, leave out the outer object, write numbers as strings or are cut
    short in the middle. All that is whole is taken; of two texts with one number the first.
    """
    rest = reply.rpartition(_END_OF_THOUGHT)[2]
    found: dict[int, str] = {}
    position = 0
    while (position := _next_bracket(rest, position)) >= 0:
        try:
            value, position = _DECODER.raw_decode(rest, position)
        except ValueError:
            position += 1
            continue
        except RecursionError:  # A model that is stuck on one bracket says nothing more.
            break
        for number, text in _entries(value):
            found.setdefault(number, text)
    return found


def _next_bracket(text: str, start: int) -> int:
    return min((at for at in (text.find("{", start), text.find("[", start)) if at >= 0), default=-1)


def _entries(value: Any) -> list[tuple[int, str]]:
    if isinstance(value, list):
        return [entry for item in value if isinstance(item, dict) for entry in _entry(item)]
    if isinstance(value, dict):
        return _entry(value) or [entry for item in value.values() if isinstance(item, list) for entry in _entries(item)]
    return []


def _entry(item: Mapping[str, Any]) -> list[tuple[int, str]]:
    number, text = item.get("number"), item.get("text")
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 10:
        number = int(number)
    return [(number, _clean(text))] if type(number) is int and isinstance(text, str) else []


def _clean(text: str) -> str:
    """Lines without empty ones, and without characters that cannot be stored or seen."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    kept = ("".join(filter(str.isprintable, line)) for line in lines)
    return "\n".join(filter(None, kept))
