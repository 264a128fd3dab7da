"""Tables of questions made by hand, for readers and scores."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from updater.fidelity.schema import QUESTIONS


def question(user: str, slot: str, options: Sequence[str], gold: str, **other: Any) -> dict[str, Any]:
    """A row of the table; `gold` is the right option. Other columns have values that say nothing."""
    row = {
        "question_id": f"{slot}/{user}",
        "user_id": user,
        "subtask": "LI",
        "modality": "bill",
        "attribute": "category",
        "slot": slot,
        "text": f"What about {slot}?",
        "options": list(options),
        "gold": list(options).index(gold),
        "touches_delta": False,
        "evidence": [],
        "train": False,
    }
    return {**row, **other}


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """The rows as a table of questions."""
    return pa.Table.from_pylist(list(rows), schema=QUESTIONS)
