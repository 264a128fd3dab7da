"""The kinds of label a task can have. Each is plain data that says in SQL who is eligible and what the label is.

A kind reads the tables `past_<modality>` and `next_<modality>` that `events` makes, and its query yields user_id and
label, one row for each eligible user. A window of n days before the anchor holds the ages 0 to n - 1; one after it
holds 1 to n days ahead.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from updater.domain import values
from updater.errors import ConfigError
from updater.labels.events import quoted


@dataclass(frozen=True)
class RequiredColumns:
    """What a query needs of a modality: so many days of it, with these columns."""

    modality: str
    num_days: int
    columns: tuple[str, ...] = ()


class Kind(Protocol):
    """What all kinds have in common."""

    @property
    def horizon_days(self) -> int:
        """Days after the anchor that the label looks at."""

    def past(self) -> list[RequiredColumns]:
        """What the query reads up to the anchor."""

    def next(self) -> list[RequiredColumns]:
        """What the query reads after it."""

    def query(self) -> tuple[str, dict[str, Any]]:
        """SQL that yields user_id and label, and its parameters."""


@dataclass(frozen=True, kw_only=True)
class Occurs(values.Checked, table="occurs"):
    """At least so many events within the horizon, such as a visit, a first purchase or a repeated one."""

    modality: str
    at_least: values.AtLeastOne = 1
    column: str = ""
    """Only events with `value` in this column count; empty for all events."""
    value: str = ""
    history: Literal["any", "none", "some"] = "any"
    """Whether an eligible user has had such an event in `history_days`: `none` asks for a first, `some` for another."""
    active_in: str
    """An eligible user had an event of this modality in `history_days`."""
    duration: str = ""
    """A numeric column of `active_in`: its events last so many days, and must not have ended before `history_days`."""
    max_duration_days: values.DaysOrNone = 0
    """How long an event of `active_in` can last at most."""
    history_days: values.Days = 90
    horizon_days: values.Days = 28

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.column) != bool(self.value):
            raise ConfigError("column and value go together; give both or neither.")
        if bool(self.duration) != (self.max_duration_days > 0):
            raise ConfigError("duration and max_duration_days go together; give both or neither.")

    def past(self) -> list[RequiredColumns]:
        """The population and, if it matters, the events themselves."""
        days = self.history_days + self.max_duration_days
        population = RequiredColumns(self.active_in, days, (self.duration,) if self.duration else ())
        return [population] if self.history == "any" else [population, self._events(self.history_days)]

    def next(self) -> list[RequiredColumns]:
        """The events that make the label true."""
        return [self._events(self.horizon_days)]

    def query(self) -> tuple[str, dict[str, Any]]:
        """Population, then the condition on its history, then the count within the horizon."""
        matches = f" and {quoted(self.column)} = $value" if self.column else ""
        ended = f"age - {quoted(self.duration)}" if self.duration else "age"
        test = {"any": "true", "none": f"user_id not in ({_HAD})", "some": f"user_id in ({_HAD})"}[self.history]
        had = test.format(modality=self.modality, matches=matches)
        sql = f"""
            select user_id, coalesce(n, 0) >= $at_least as label
            from (select distinct user_id from past_{self.active_in} where {ended} < $history_days and {had})
            left join (
                select user_id, count(*) as n from next_{self.modality} where ahead <= $horizon_days{matches} group by 1
            ) using (user_id)"""
        return sql, _bound(self, sql, "at_least", "history_days", "horizon_days", "value")

    def _events(self, num_days: int) -> RequiredColumns:
        return RequiredColumns(self.modality, num_days, (self.column,) if self.column else ())


_HAD = "select user_id from past_{modality} where age < $history_days{matches}"


@dataclass(frozen=True, kw_only=True)
class Lapses(values.Checked, table="lapses"):
    """No event at all within the horizon, of a user who had one in the `active_days` before."""

    modality: str
    active_days: values.Days = 28
    horizon_days: values.Days = 28

    def past(self) -> list[RequiredColumns]:
        """The recent events."""
        return [RequiredColumns(self.modality, self.active_days)]

    def next(self) -> list[RequiredColumns]:
        """The events that make the label false."""
        return [RequiredColumns(self.modality, self.horizon_days)]

    def query(self) -> tuple[str, dict[str, Any]]:
        """Who was active, and does not come back."""
        sql = f"""
            select user_id, user_id not in (
                select user_id from next_{self.modality} where ahead <= $horizon_days
            ) as label
            from (select distinct user_id from past_{self.modality} where age < $active_days)"""
        return sql, _bound(self, sql, "active_days", "horizon_days")


@dataclass(frozen=True, kw_only=True)
class Changes(values.Checked, table="changes"):
    """A count or sum over the horizon, against what it was per horizon in the `base_days` before."""

    modality: str
    column: str = ""
    """The numeric column that is summed; empty to count events."""
    rises_to: values.NotNegative = 0.0
    """True from this multiple of the former level on."""
    falls_below: values.Share = 0.0
    """True below this share of the former level; exactly one of the two is given."""
    mean: bool = False
    """Compare the mean of the column over a user's events, instead of the sum."""
    least: values.NotNegative
    """Former level, per horizon, from which a user is eligible; with `mean`, events in `base_days`."""
    or_active: bool = False
    """A user with an event in the last `horizon_days` is eligible too."""
    base_days: values.Days = 84
    horizon_days: values.Days = 28

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.rises_to > 0) == (self.falls_below > 0) or (self.mean and not self.column):
            raise ConfigError("a change needs exactly one of rises_to and falls_below, above 0, and a mean a column.")

    def past(self) -> list[RequiredColumns]:
        """The base."""
        return [RequiredColumns(self.modality, self.base_days, self._columns())]

    def next(self) -> list[RequiredColumns]:
        """The level after the anchor."""
        return [RequiredColumns(self.modality, self.horizon_days, self._columns())]

    def query(self) -> tuple[str, dict[str, Any]]:
        """The level per horizon before and after."""
        level = f"{'avg' if self.mean else 'sum'}({quoted(self.column)})" if self.column else "count(*)"
        scaled = "" if self.mean else " * $horizon_days / $base_days::double"
        enough = "count(*)" if self.mean else "before"
        compared = ">= $rises_to" if self.rises_to else "< $falls_below"
        active = " or newest < $horizon_days" if self.or_active else ""
        sql = f"""
            select user_id, coalesce(after, 0) {compared} * before as label
            from (
                select user_id, {level}{scaled} as before, min(age) as newest
                from past_{self.modality} where age < $base_days group by 1 having {enough} >= $least{active}
            ) left join (
                select user_id, {level} as after from next_{self.modality} where ahead <= $horizon_days group by 1
            ) using (user_id)"""
        return sql, _bound(self, sql, "rises_to", "falls_below", "least", "base_days", "horizon_days")

    def _columns(self) -> tuple[str, ...]:
        return (self.column,) if self.column else ()


@dataclass(frozen=True, kw_only=True)
class TriesNewCategories(values.Checked, table="tries_new_categories"):
    """Events within the horizon in at least so many categories that the user had none of in `history_days`."""

    modality: str
    column: str
    at_least: values.AtLeastOne = 5
    num_categories: values.AtLeastOne = 120
    """Only the categories that were commonest in the past count: rare ones are new to nearly everyone."""
    least_events: values.AtLeastOne = 20
    """Events in `history_days` from which a user is eligible."""
    history_days: values.Days = 90
    horizon_days: values.Days = 28

    def past(self) -> list[RequiredColumns]:
        """The categories that are not new."""
        return [RequiredColumns(self.modality, self.history_days, (self.column,))]

    def next(self) -> list[RequiredColumns]:
        """The categories that might be."""
        return [RequiredColumns(self.modality, self.horizon_days, (self.column,))]

    def query(self) -> tuple[str, dict[str, Any]]:
        """The (user, category) pairs of the horizon that are not in the past."""
        column = quoted(self.column)
        sql = f"""
            with known as (select user_id, {column} as c from past_{self.modality} where age < $history_days),
            common as (select c from known group by 1 order by count(*) desc, c limit $num_categories),
            fresh as (
                select distinct user_id, {column} as c from next_{self.modality}
                where ahead <= $horizon_days and c in (from common)
                except select user_id, c from known
            )
            select user_id, coalesce(n, 0) >= $at_least as label
            from (select user_id from known group by 1 having count(*) >= $least_events)
            left join (select user_id, count(*) as n from fresh group by 1) using (user_id)"""
        return sql, _bound(self, sql, "at_least", "num_categories", "least_events", "history_days", "horizon_days")


@dataclass(frozen=True, kw_only=True)
class Share(values.Checked, table="share"):
    """One amount, as a share of itself and another, reaches a threshold within the horizon."""

    modality: str
    part: str
    rest: str
    """The share is part / (part + rest)."""
    at_least: values.PositiveShare
    active_days: values.Days = 28
    horizon_days: values.Days = 28

    def past(self) -> list[RequiredColumns]:
        """The recent events."""
        return [RequiredColumns(self.modality, self.active_days)]

    def next(self) -> list[RequiredColumns]:
        """The two amounts."""
        return [RequiredColumns(self.modality, self.horizon_days, (self.part, self.rest))]

    def query(self) -> tuple[str, dict[str, Any]]:
        """A user without events has no share, and the label is false."""
        part, rest = quoted(self.part), quoted(self.rest)
        sql = f"""
            select user_id, coalesce(share >= $at_least, false) as label
            from (select distinct user_id from past_{self.modality} where age < $active_days)
            left join (
                select user_id, sum({part}) / nullif(sum({part} + {rest}), 0) as share
                from next_{self.modality} where ahead <= $horizon_days group by 1
            ) using (user_id)"""
        return sql, _bound(self, sql, "at_least", "active_days", "horizon_days")


@dataclass(frozen=True, kw_only=True)
class ShareIncreases(values.Checked, table="share_increases"):
    """The share of an amount that falls to one value of a column rises by so much against `history_days`."""

    modality: str
    amount: str
    column: str
    value: str
    increases_by: values.PositiveShare
    least: values.NotNegative
    """Amount in `history_days` from which a user is eligible."""
    history_days: values.Days = 90
    horizon_days: values.Days = 28

    def past(self) -> list[RequiredColumns]:
        """The former share."""
        return [RequiredColumns(self.modality, self.history_days, (self.amount, self.column))]

    def next(self) -> list[RequiredColumns]:
        """The share after the anchor."""
        return [RequiredColumns(self.modality, self.horizon_days, (self.amount, self.column))]

    def query(self) -> tuple[str, dict[str, Any]]:
        """A user without events has no share, and the label is false."""
        amount = quoted(self.amount)
        chosen = f"coalesce(sum({amount}) filter ({quoted(self.column)} = $value), 0)"
        share = f"{chosen} / nullif(sum({amount}), 0)"
        sql = f"""
            select user_id, coalesce(after - before >= $increases_by, false) as label
            from (
                select user_id, {share} as before from past_{self.modality} where age < $history_days
                group by 1 having sum({amount}) >= $least
            ) left join (
                select user_id, {share} as after from next_{self.modality} where ahead <= $horizon_days group by 1
            ) using (user_id)"""
        return sql, _bound(self, sql, "value", "increases_by", "least", "history_days", "horizon_days")


KINDS: dict[str, type[Kind]] = {
    "occurs": Occurs,
    "lapses": Lapses,
    "changes": Changes,
    "tries_new_categories": TriesNewCategories,
    "share": Share,
    "share_increases": ShareIncreases,
}
"""The kinds by the name that a task declares."""


def _bound(kind: Kind, sql: str, *names: str) -> dict[str, Any]:
    # DuckDB refuses a parameter that the statement does not name.
    return {name: getattr(kind, name) for name in names if f"${name}" in sql}
