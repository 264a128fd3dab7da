"""What came of every question for every user of an anchor day, counted by DuckDB over the pipeline's event files.

The past is the buffer at the anchor's end, the future the buffer of the following days as it was known at their end:
erased users, rejected rows, late, corrected and deleted events are those of the daily update.
"""

# U users, C questions that count days, A others

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from updater.domain.declared.modality import Modality
from updater.domain.window import day_window
from updater.lake.schemas import numeric_columns
from updater.settings import Settings
from updater.state.event_store import Buffer, EventFile
from updater.training.dense.labels.questions import Question
from updater.training.dense.labels.text_columns import parse_column
from updater.training.wording import COUNT

ANSWERS = 5
"""Yes-or-no answers to a question."""
COUNTED = "days >= 1, days >= 2, days >= 4, first <= length / 4, first <= length / 2"
"""The answers to a question that counts days: distinct days with the value, and its first one, of `length` days."""


@dataclass(frozen=True)
class Outcomes:
    """Of the users of one anchor day."""

    answers_UC: npt.NDArray[np.uint8]
    """The five answers to each question that counts days: bit k is answer k."""
    measures_UA: npt.NDArray[np.float32]
    """The measure of each other question; NaN where there is none."""
    known_U: npt.NDArray[np.bool_]
    """False for a user one of whose events is in the past and in the future: it would give itself away."""


class OutcomeReader:
    """Counts outcomes on a connection of its own."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, settings: Settings, files: Mapping[str, Sequence[EventFile]]
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._files = files

    def read(self, anchor: date, users: Sequence[str], questions: Sequence[Question], days: int) -> Outcomes:
        """Outcomes in the `days` local days after `anchor`.

        Args:
            anchor: the last day that is known.
            users: whose.
            questions: those that count days come first.
            days: length of the future, the longest that a question asks about.
        """
        counted = [question for question in questions if question.is_counted]
        others = questions[len(counted) :]
        answers = np.zeros((len(users), len(counted)), dtype=np.uint8)
        measures = np.zeros((len(users), len(others)), dtype=np.float32)
        known = np.ones(len(users), dtype=bool)
        rows = pa.table({"user_id": pa.array(users, pa.string()), "row": pa.array(range(len(users)), pa.int32())})
        self._connection.register("known_users", rows)
        for modality in self._settings.modalities:
            if modality.kind != "stream":
                continue
            self._load(modality, anchor, days)
            known[self._numbers("select distinct row from before join after using (row, event_id)")["row"]] = False
            of_modality = [(n, q) for n, q in enumerate(counted) if q.modality == modality.name]
            self._count(modality, of_modality, days, answers)
            self._measure(modality, [(n, q) for n, q in enumerate(others) if q.modality == modality.name], measures)
        return Outcomes(answers, measures, known)

    def _load(self, modality: Modality, anchor: date, days: int) -> None:
        """Make the tables `before` and `after` of a modality's events, `ahead` days after the anchor."""
        zone, files = self._settings.timezone, self._files.get(modality.name, ())
        spans = {"before": (anchor, self._settings.buffer.days), "after": (anchor + timedelta(days=days), days)}
        for table, (last, length) in spans.items():
            buffer = Buffer(self._connection, modality, files, length, zone)
            extra = ("category", "text") if table == "after" else ("category",)
            self._connection.register("held", buffer.content(day_window(last, zone), extra=extra))
            within = f"where ahead between 1 and {days}" if table == "after" else ""
            self._connection.execute(
                f"create or replace temp table {table} as select row, held.* exclude (user_id, text_id), {_AHEAD} as "
                f"ahead from held join known_users using (user_id) {within}",
                {"timezone": zone, "anchor": anchor},
            )
            self._connection.unregister("held")

    def _count(
        self, modality: Modality, questions: Sequence[tuple[int, Question]], days: int, answers: npt.NDArray[np.uint8]
    ) -> None:
        self._match(modality, questions)
        found = self._numbers(
            f"select row, question, {_BITS} as bits from (select row, question, count(distinct ahead) as days, "
            f"min(ahead) as first, {days} as length from matched group by row, question)"
        )
        answers[found["row"], found["question"]] = found["bits"]

    def _match(self, modality: Modality, questions: Sequence[tuple[int, Question]]) -> None:
        """Make the table `matched`: the events after the anchor with the value of a question, once for each."""
        self._connection.register("asked", self._asked(modality, questions))
        joins = [
            f"select row, ahead, question from after join asked on {field} = said and is_text = {is_text}"
            for field, is_text in (("category", "false"), ("text", "true"))
        ]
        self._connection.execute(f"create or replace temp table matched as {' union all '.join(joins)}")

    def _asked(self, modality: Modality, questions: Sequence[tuple[int, Question]]) -> pa.Table:
        """Which categories and texts are about which questions."""
        said, is_text, which = [], [], []
        for column in dict.fromkeys(question.column for _, question in questions):
            wanted = {question.value: number for number, question in questions if question.column == column}
            names: dict[str, str | None] = {value: value for value in wanted}
            if column != modality.category:
                rows = self._connection.execute("select distinct text from after order by text").fetchall()
                texts = [text for (text,) in rows]
                names = dict(zip(texts, parse_column(modality, column, texts), strict=True))
            for text, value in names.items():
                if value is not None and value in wanted:
                    said.append(text)
                    is_text.append(column != modality.category)
                    which.append(wanted[value])
        columns = [pa.array(said, pa.string()), pa.array(is_text, pa.bool_()), pa.array(which, pa.int32())]
        return pa.table(columns, ["said", "is_text", "question"])

    def _measure(
        self, modality: Modality, questions: Sequence[tuple[int, Question]], measures: npt.NDArray[np.float32]
    ) -> None:
        columns = dict(zip(modality.numeric, numeric_columns(modality), strict=True))
        self._match(modality, [(number, question) for number, question in questions if question.measure == "share"])
        for number, question in questions:
            found = self._numbers(_query(question, columns, self._settings.buffer.days), number=number)
            if question.measure == "share":
                measures[:, number] = np.nan
            measures[found["row"], number] = found["value"]

    def _numbers(self, query: str, **parameters: Any) -> dict[str, npt.NDArray[Any]]:
        used = {name: value for name, value in parameters.items() if f"${name}" in query}
        found: dict[str, Any] = self._connection.execute(query, used).fetchnumpy()
        return found


def _query(question: Question, columns: Mapping[str, str], buffer_days: int) -> str:
    """SQL for the measure of a question, `value` per `row`; a user without a row has 0."""
    within = f"ahead <= {question.days}"
    amount = "1.0" if question.column == COUNT else columns.get(question.column, "1.0")
    match question.measure:
        case "events":
            value = "count(*)"
        case "days":
            value = "count(distinct ahead)"
        case "kinds":
            value = "count(distinct nullif(category, ''))"
        case "total":
            value = f"sum({amount})"
        case "new_kinds":
            return f"""
                select row, count(distinct category) as value
                from after anti join (select row, category from before where ahead <= 0) using (row, category)
                where category != '' and {within} group by row"""
        case "change":
            # The logarithm of a ratio, which a user without any amount before has as well.
            sums = f"""
                select row, sum(case when {{}} then {amount} end) * {{}} as amount from {{}} group by row"""
            earlier = sums.format("ahead <= 0", f"{question.days} / {buffer_days}", "before")
            later = sums.format(within, "1", "after")
            logarithm = "ln(1 + greatest(coalesce({}.amount, 0), 0))"
            return f"""
                select row, {logarithm.format("l")} - {logarithm.format("e")} as value
                from ({earlier}) as e full join ({later}) as l using (row)"""
        case "share":
            return f"""
                select row, coalesce(hits, 0) / total as value
                from (select row, count(*) as total from after where {within} group by row) left join (
                    select row, count(*) as hits from matched where question = $number and {within} group by row
                ) using (row)"""
    return f"select row, coalesce({value}, 0) as value from after where {within} group by row"


_AHEAD = "date_diff('day', $anchor::date, ((event_time at time zone 'UTC') at time zone $timezone)::date)::integer"
_BITS = " + ".join(f"({answer.strip()})::utinyint * {2**k}" for k, answer in enumerate(COUNTED.split(",")))
