"""What the made-up population is to look like."""

from dataclasses import dataclass
from datetime import date, timedelta

from updater.errors import ConfigError

MODALITIES = ("purchase", "step", "visit", "mailing", "answer")
KINDS = ("needs", "order", "regimes", "response")


@dataclass(frozen=True, kw_only=True)
class PopulationSpec:
    """A population of which the chance of every label is known. Equal specs give equal bytes; days are UTC days.

    A user's history is a function of the seed and the user's number: more users do not change it.

    Raises ConfigError for a population without users or days.
    """

    seed: int = 7
    """Non-negative."""
    num_users: int = 20_000
    first_day: date = date(2025, 1, 1)
    num_days: int = 182

    def __post_init__(self) -> None:
        for name in ("num_users", "num_days"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of a population is {getattr(self, name)}; use 1 or more.")
        if self.seed < 0:
            raise ConfigError(f"seed of a population is {self.seed}; use 0 or more.")

    @property
    def last_day(self) -> date:
        """The last day that lands."""
        return self.first_day + timedelta(days=self.num_days - 1)
