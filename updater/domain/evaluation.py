"""What `updater evaluate` judges a model on."""

from dataclasses import dataclass
from datetime import date

from updater.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Tasks and anchor days. An anchor is the last day that is known; labels look at the days after it."""

    tasks: str = ""
    """File of label tasks (TOML); a relative path is relative to the config file."""
    train: tuple[date, ...] = ()
    """Anchors of the rows that probes and soft prompts are fitted to."""
    validation: tuple[date, ...] = ()
    """Anchors by which the probes' penalty is chosen."""
    test: tuple[date, ...] = ()
    """Anchors of the rows that are reported."""
    bootstrap: int = 200
    """Draws of the users for standard errors and intervals."""
    horizon_days: int = 28
    """The longest horizon of the tasks, by which the parts are kept apart."""

    def __post_init__(self) -> None:
        for name, value in (("bootstrap", self.bootstrap), ("horizon_days", self.horizon_days)):
            if value < 2:
                raise ConfigError(f"evaluation.{name} is {value}; use 2 or more.")
