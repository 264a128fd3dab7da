"""Questions about users, made of any lake: what can be asked of an embedding and checked in the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from updater.fidelity.filters import PER_USER
from updater.fidelity.generate import digest, state_blocks, to_table
from updater.fidelity.history import read_history
from updater.runtime.deployment import Context


@dataclass(frozen=True, eq=False)
class Questions:
    """A set of questions as of one instant."""

    table: pa.Table
    """Schema `QUESTIONS`, sorted by question_id."""
    removed: Mapping[str, int]
    """Filter -> how many questions it removed."""
    digest: str
    """Hash of the set: equal for equal questions."""
    as_of: datetime


def make_questions(context: Context, ds: date, *, users: int | None = None, per_user: int = PER_USER) -> Questions:
    """Make the questions that the log can answer as of the end of day `ds`.

    Args:
        context: the deployment, in whose state the day has landed.
        ds: the last day that is known.
        users: how many users to ask about at most, chosen by hash, always the same ones; None for all.
        per_user: questions per user and sub-task at most.

    Raises:
        NotLandedError: a modality that is not optional has not landed on `ds`.
    """
    history = read_history(context, ds, users)
    table, removed = to_table(state_blocks(history), history, per_user)
    return Questions(table, {"leak_refused": 0, **removed}, digest(table, history.as_of), history.as_of)
