"""What `updater model evaluate` evaluates a model on."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from annotated_types import Ge, Interval

from updater.domain.values import Checked, Number


@dataclass(frozen=True, kw_only=True)
class Evaluation(Checked, table="evaluation"):
    """Tasks and anchor days. An anchor is the last day that is known; labels look at the days after it."""

    tasks: str = ""
    """File of label tasks (TOML); a relative path is relative to the config file."""
    train: tuple[date, ...] = ()
    """Anchors of the rows that probes and soft prompts are fitted to."""
    validation: tuple[date, ...] = ()
    """Anchors by which the probes' penalty is chosen."""
    test: tuple[date, ...] = ()
    """Anchors of the rows that are reported."""
    bootstrap: Annotated[int, Ge(2)] = 200
    """Draws of the users for standard errors and intervals."""
    paraphrases: Number = 0
    """How many paraphrases of each task's query are evaluated beside it; 0: none."""
    horizon_days: Annotated[int, Interval(ge=2, le=36_500)] = 28
    """The longest horizon of the tasks, by which the parts are kept apart."""
