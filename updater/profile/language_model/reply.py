"""Reading a reply: `{"clauses": [{"text": …, "facets": [id, …]}, …]}`, in whatever a model wraps around it."""

import json
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 20_000
"""A longer reply is not looked at: reading what is nested in itself takes time with the square of its length."""
MAX_CLAUSES = 40
_DECODER = json.JSONDecoder()
_END_OF_THOUGHT = "</think>"


@dataclass(frozen=True)
class Clause:
    """A sentence of a reply, and the ids of the facets that it says it rests on."""

    text: str
    facets: tuple[str, ...]


def read_reply(reply: str) -> tuple[Clause, ...] | None:
    """The clauses of a reply; None if it has none of the form, or one of them has another.

    Thoughts, prose and code fences around the first object of the form are left out. Nothing is repaired: a clause
    whose facets are not there rests on nothing.
    """
    rest = reply[: MAX_CHARACTERS + 1].rpartition(_END_OF_THOUGHT)[2]
    if len(reply) > MAX_CHARACTERS:
        return None
    position = rest.find("{")
    while position >= 0:
        try:
            value, end = _DECODER.raw_decode(rest, position)
        except ValueError:
            end = position + 1
        except RecursionError:
            return None
        else:
            if isinstance(value, dict) and "clauses" in value:
                return _clauses(value["clauses"])
        position = rest.find("{", end)
    return None


def _clauses(value: Any) -> tuple[Clause, ...] | None:
    if not isinstance(value, list) or len(value) > MAX_CLAUSES:
        return None
    found = [_clause(item) for item in value]
    known = tuple(clause for clause in found if clause is not None)
    return known if len(known) == len(found) else None


def _clause(item: Any) -> Clause | None:
    if not isinstance(item, dict):
        return None
    text, facets = item.get("text"), item.get("facets")
    if not isinstance(text, str) or not isinstance(facets, list) or not all(isinstance(one, str) for one in facets):
        return None
    return Clause(text, tuple(facets))
