"""Label tasks as data: what is asked of a user at an anchor.

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

import logging
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from updater.config_file import build, nearest, rename_keys
from updater.domain.declared.modality import NAME
from updater.domain.values import AtLeastOne
from updater.errors import ConfigError
from updater.labels.definitions import KINDS, Kind
from updater.settings import Settings

logger = logging.getLogger(__name__)


FORMER_KINDS = {"happens": "occurs", "explores": "tries_new_categories", "shifts": "share_increases"}
FORMER_PARAMETERS = {"parameters.rises_by": "increases_by"}
"""Former names in task files, which are still read with a warning."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One binary question about a user. Raises ConfigError if its parameters do not fit its kind."""

    name: str
    domain: str
    """risk, marketing, engagement, or any other name."""
    kind: str
    """The name of one of `definitions.KINDS`."""
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
        try:
            rule: Kind = build(KINDS[self.kind], dict(self.parameters), "parameters")
        except ConfigError as error:
            raise ConfigError(f"task {self.name!r}: {error}") from None
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
    num_days: Annotated[int, Interval(ge=1, le=90)] = 90
    limit: AtLeastOne = 20
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


def read_task_file(path: str | Path) -> TaskFile:
    """The tables of a TOML file. Raises ConfigError."""
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"task file {path} cannot be read: {error}.") from None
    for name in ("tasks", "families"):
        for table in raw.get(name, ()) if isinstance(raw.get(name), list) else ():
            _rename(table, path)
    content: TaskFile = build(TaskFile, raw, "")
    return content


def _rename(table: Any, path: str | Path) -> None:
    """Give a table of a task file the present names; what is no table is left to `build`, which refuses it."""
    kind = table.get("kind") if isinstance(table, dict) else None
    if isinstance(kind, str) and kind in FORMER_KINDS:
        table["kind"] = FORMER_KINDS[kind]
        logger.warning(
            "kind %r of %s is now called %r; the former name stops working in the next release.",
            kind,
            path,
            table["kind"],
        )
        rename_keys(table, FORMER_PARAMETERS, str(path))


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
            f"task {task.name!r} has no query, and {task.scenario!r} is not a scenario of {settings.source}; "
            "give it one."
        )
    return Question(query, task.scenario)
