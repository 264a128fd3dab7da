"""Label tasks as data: what is asked of a user at an anchor, and the answers, computed from the event lake.

A task is a TOML table, alone or as a family that asks the same of many values:

    [[tasks]]
    name = "lapse_28d"
    domain = "risk"
    kind = "lapses"
    parameters = { modality = "trip" }

    [[families]]
    name = "will_buy_{value}_28d"
    domain = "marketing"
    kind = "occurs"
    parameters = { modality = "item", column = "category", active_in = "trip" }
    values = ["YOGURT", "EGGS"]
    unseen = ["CAT FOOD"]
"""

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from updater.config_file import build, nearest
from updater.domain import buckets
from updater.domain.modality import NAME
from updater.domain.window import Window, day_window
from updater.errors import ConfigError
from updater.evaluation.events import Events
from updater.evaluation.kinds import KINDS, Kind, RequiredColumns
from updater.settings import Settings

LABELS_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("anchor", pa.date32()),
        ("event_timestamp", pa.timestamp("us", "UTC")),
        ("label", pa.bool_()),
    ]
)
"""`anchor` is the last day that is known; `event_timestamp` its end, which makes the table one that Feast can join."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One binary question about a user. Raises ConfigError if its parameters do not fit its kind."""

    name: str
    domain: str
    """risk, marketing, engagement, or any other name."""
    kind: str
    """The name of one of `kinds.KINDS`."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The fields of that kind."""
    query: str = ""
    """What the model is asked about it; that of `scenario` if left out."""
    scenario: str = ""
    """Name of the soft prompt in front of the query: a scenario of the config, or any other name."""
    shared_scenario: str = ""
    """Name of a further soft prompt, which the answers of all tasks that name it train together."""
    family: str = ""
    """The family that it belongs to, if any."""
    unseen: bool = False
    """Nothing is trained on its answers, so that it shows what a question does that was never asked before."""

    def __post_init__(self) -> None:
        for name, value in (("name", self.name), ("domain", self.domain)):
            if not NAME.fullmatch(value):
                raise ConfigError(f"task {self.name!r}: {name} {value!r} is not lower-case letters, digits and _.")
        if self.kind not in KINDS:
            raise ConfigError(f"task {self.name!r}: kind {self.kind!r} is unknown{nearest(self.kind, KINDS)}")
        _ = self.rule

    @cached_property
    def rule(self) -> Kind:
        """The kind with these parameters."""
        rule: Kind = build(KINDS[self.kind], dict(self.parameters), f"tasks.{self.name}.parameters")
        return rule


@dataclass(frozen=True, kw_only=True)
class Family:
    """The same question about many values of a column, one task for each."""

    name: str
    """Name of the tasks; `{value}` stands for the value, in lower case with underscores."""
    domain: str
    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The fields of the kind, without `value`."""
    query: str = ""
    """What the model is asked; `{value}` stands for the value as it is."""
    scenario: str = ""
    """The soft prompt of a task; with `{value}` each value has one of its own."""
    unseen_scenario: str = ""
    """The soft prompt of unseen values, trained on all other values of the family; that of the others if left out."""
    values: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    """More values, whose tasks are marked `unseen`."""

    def tasks(self) -> list[Task]:
        """One task for each value."""
        shared = self.unseen_scenario
        tasks = []
        for value in (*self.values, *self.unseen):
            short = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")
            unseen = value in self.unseen
            tasks.append(
                Task(
                    name=self.name.replace("{value}", short),
                    domain=self.domain,
                    kind=self.kind,
                    parameters={**self.parameters, "value": value},
                    query=self.query.replace("{value}", value),
                    scenario=shared if unseen and shared else self.scenario.replace("{value}", short),
                    shared_scenario=shared,
                    family=self.name,
                    unseen=unseen,
                )
            )
        return tasks


@dataclass(frozen=True, kw_only=True)
class Amount:
    """What the baselines sum by the values of a column, such as spending by department."""

    modality: str
    column: str
    amount: str
    """The numeric column that is summed."""
    num_days: int = 90
    limit: int = 20
    """So many values, those with most events up to the training anchors."""


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """The tables of a task file."""

    tasks: tuple[Task, ...] = ()
    families: tuple[Family, ...] = ()
    amounts: tuple[Amount, ...] = ()
    paraphrases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Other wordings of the queries, by the names of the tasks."""


@dataclass(frozen=True, order=True)
class Question:
    """What a model is asked."""

    query: str
    scenario: str = ""
    """Name of the soft prompt in front of it; empty for none."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Anchors in time. No label window reaches beyond an anchor of the next part.

    Within training, held-out users are left out as well; testing is on all users, and on the held-out ones alone.
    """

    train: tuple[date, ...]
    validation: tuple[date, ...] = ()
    test: tuple[date, ...]
    horizon_days: int = 28
    """The longest horizon of the tasks."""

    def __post_init__(self) -> None:
        parts = [part for part in (self.train, self.validation, self.test) if part]
        for earlier, later in pairwise(parts):
            end = max(earlier) + timedelta(days=self.horizon_days)
            if end > min(later):
                raise ConfigError(
                    f"labels of anchor {max(earlier)} reach to {end}, beyond anchor {min(later)} of the next part; "
                    "move the anchors apart."
                )


def read_task_file(path: str | Path) -> TaskFile:
    """The tables of a TOML file. Raises ConfigError."""
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"task file {path} cannot be read: {error}.") from None
    content: TaskFile = build(TaskFile, raw, "")
    return content


def read_tasks(path: str | Path) -> list[Task]:
    """The tasks of a TOML file, families spelt out. Raises ConfigError."""
    content = read_task_file(path)
    tasks = [*content.tasks, *(task for family in content.families for task in family.tasks())]
    names = [task.name for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"task {twice[0]!r} is declared twice in {path}; names are unique.")
    return tasks


def question(settings: Settings, task: Task) -> Question:
    """What the model is asked about a task. Raises ConfigError if neither it nor its scenario has a query."""
    declared = {scenario.name: scenario.query for scenario in settings.scenarios}
    query = task.query or declared.get(task.scenario, "")
    if not query:
        raise ConfigError(
            f"task {task.name!r} has no query, and {task.scenario!r} is no scenario of {settings.source}; give it one."
        )
    return Question(query, task.scenario)


def known_at(settings: Settings, task: Task, anchor: date) -> datetime:
    """The first instant at which a task's labels of an anchor are known: the end of its horizon."""
    return day_window(anchor + timedelta(days=task.rule.horizon_days), settings.timezone).as_of


def label_tables(events: Events, tasks: Sequence[Task], anchors: Iterable[date]) -> dict[str, pa.Table]:
    """The labels of each task: a row for every eligible user at every anchor (`LABELS_SCHEMA`), sorted by both.

    Eligibility is decided by days up to the anchor, the label by the days after it.

    Raises:
        ConfigError: a task names a modality or column that the config does not declare.
        NotLandedError: a day that a label needs has not landed.
    """
    parts: dict[str, list[pa.Table]] = {task.name: [] for task in tasks}
    for ds in sorted(set(anchors)):
        anchor = day_window(ds, events.settings.timezone)
        _load(events, [task.rule for task in tasks], anchor)
        for task in tasks:
            sql, parameters = task.rule.query()
            found = events.connection.execute(f"select user_id, label from ({sql}) order by user_id", parameters)
            parts[task.name].append(_table(found.to_arrow_table(), anchor))
    return {name: pa.concat_tables(tables) if tables else LABELS_SCHEMA.empty_table() for name, tables in parts.items()}


def is_held_out(users: Iterable[str]) -> NDArray[np.bool_]:
    """True for a fifth of the users, always the same ones: nothing is trained on them."""
    return np.array([buckets.is_held_out(user) for user in users], dtype=bool)


def _table(found: pa.Table, anchor: Window) -> pa.Table:
    return pa.table(
        {
            "user_id": found["user_id"],
            "anchor": pa.array([anchor.ds] * found.num_rows, pa.date32()),
            "event_timestamp": pa.array([anchor.as_of] * found.num_rows, pa.timestamp("us", "UTC")),
            "label": found["label"],
        }
    ).cast(LABELS_SCHEMA)


def _load(events: Events, rules: Sequence[Kind], anchor: Window) -> None:
    for read in _merged(read for rule in rules for read in rule.past()):
        events.load_past(read.modality, anchor, read.num_days, read.columns)
    for read in _merged(read for rule in rules for read in rule.next()):
        events.load_next(read.modality, anchor, read.num_days, read.columns)


def _merged(reads: Iterable[RequiredColumns]) -> list[RequiredColumns]:
    """One read for each modality that covers all of them."""
    merged: dict[str, RequiredColumns] = {}
    for read in reads:
        known = merged.get(read.modality, RequiredColumns(read.modality, 0))
        columns = tuple(sorted({*known.columns, *read.columns}))
        merged[read.modality] = dataclasses.replace(known, num_days=max(known.num_days, read.num_days), columns=columns)
    return list(merged.values())
