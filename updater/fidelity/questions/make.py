"""Questions about users, made of any lake: what can be asked of an embedding and checked in the log."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from updater.fidelity.log.events import microseconds
from updater.fidelity.log.history import read_history, read_upcoming
from updater.fidelity.questions.filters import PER_USER
from updater.fidelity.questions.generate import digest, generate, generate_actions
from updater.fidelity.questions.subtasks.actions import waiting
from updater.fidelity.schema import WAITING
from updater.runtime.deployment import Context

HORIZON_DAYS: Final = 7
"""Days after `as_of` in which the next event is looked for."""
LEAK_REFUSED: Final = "leak_refused"


@dataclass(frozen=True, eq=False)
class Questions:
    """A set of questions as of one instant."""

    table: pa.Table
    """Schema `QUESTIONS`, sorted by question_id."""
    removed: Mapping[str, int]
    """Filter -> how many questions it removed. `waiting`: their future has not landed yet."""
    digest: str
    """Hash of the set: equal for equal questions."""
    as_of: datetime
    waiting: pa.Table = field(default_factory=WAITING.empty_table)
    """Those whose future has not landed yet, of the schema WAITING."""


def make_questions(
    context: Context,
    ds: date,
    *,
    users: int | None = None,
    per_user: int = PER_USER,
    horizon_days: int = HORIZON_DAYS,
) -> Questions:
    """Make the questions that the log can answer as of the end of day `ds`.

    Args:
        context: the deployment, in whose state the day has landed.
        ds: the last day that is known.
        users: how many users to ask about at most, chosen by hash, always the same ones; None for all.
        per_user: questions per user and sub-task at most.
        horizon_days: in how many days after `ds` the next event is looked for; until all of them have landed in the
            state, questions about it wait.

    Raises:
        NotLandedError: a modality that is not optional has not landed on `ds`.
    """
    history = read_history(context, ds, users)
    upcoming = read_upcoming(context, history, horizon_days)
    table, removed = generate(history, upcoming, horizon_days, per_user)
    later = waiting(history, horizon_days) if upcoming is None else WAITING.empty_table()
    return _questions(table, removed, history.as_of, later)


def make_actions(
    context: Context, ds: date, asked: pa.Table, *, per_user: int = PER_USER, horizon_days: int = HORIZON_DAYS
) -> Questions | None:
    """The questions that waited as of the end of day `ds`, with the answers that have come; None if they wait still.

    Args:
        context: the deployment.
        ds: the last day that was known when they were asked.
        asked: who was asked what (schema WAITING); nobody else is. Users who were erased since then are not, either.
        per_user: questions per user and sub-task at most.
        horizon_days: in how many days after `ds` the next event is looked for.
    """
    history = read_history(context, ds, among=set(asked["user_id"].to_pylist()))
    upcoming = read_upcoming(context, history, horizon_days)
    if upcoming is None:
        return None
    return _questions(*generate_actions(history, upcoming, horizon_days, per_user), history.as_of)


def _questions(
    table: pa.Table, removed: Mapping[str, int], as_of: datetime, later: pa.Table | None = None
) -> Questions:
    counted = dict(sorted({LEAK_REFUSED: 0, **removed}.items()))
    return Questions(table, counted, digest(table, as_of), as_of, WAITING.empty_table() if later is None else later)


def refuse_leaks(questions: Questions, rows: pa.Table) -> Questions:
    """The questions without those of users whose row may know what nobody could know at `as_of`, which are counted.

    Args:
        questions: a set of questions.
        rows: the rows that are scored: columns user_id, as_of and newest_event, the newest event time that went into
            the row; null without events. Both instants are timestamps in UTC. A row is refused whose as_of is another
            one, or whose newest event is not before it.
    """
    as_of = microseconds(questions.as_of)
    ends, newest = (rows[name].cast(pa.timestamp("us")).cast(pa.int64()) for name in ("as_of", "newest_event"))
    is_sound = pc.and_(pc.fill_null(pc.equal(ends, as_of), False), pc.fill_null(pc.less(newest, as_of), True))
    refused = pc.is_in(questions.table["user_id"], value_set=rows["user_id"].filter(pc.invert(is_sound)))
    kept = questions.table.filter(pc.invert(refused))
    lost = questions.table.num_rows - kept.num_rows
    if not lost:
        return questions
    removed = Counter(questions.removed) + Counter({LEAK_REFUSED: lost})
    return replace(questions, table=kept, removed=dict(removed), digest=digest(kept, questions.as_of))
