"""What the made-up log of product codes is to look like."""

from dataclasses import dataclass
from datetime import date, timedelta

from updater.errors import ConfigError

MODALITIES = ("order", "line")


@dataclass(frozen=True, kw_only=True)
class CodesSpec:
    """A sparse log whose texts are codes. Equal specs give equal bytes; days are UTC days.

    A user's history is a function of the seed and the user's number: more users do not change it.

    Raises ConfigError for a log without users, days or products.
    """

    seed: int = 7
    """Non-negative."""
    num_users: int = 32_000
    first_day: date = date(2025, 1, 1)
    num_days: int = 120
    num_products: int = 4_000

    def __post_init__(self) -> None:
        for name in ("num_users", "num_days", "num_products"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of the log of codes is {getattr(self, name)}; use 1 or more.")
        if self.seed < 0:
            raise ConfigError(f"seed of the log of codes is {self.seed}; use 0 or more.")

    @property
    def last_day(self) -> date:
        """The last day that lands."""
        return self.first_day + timedelta(days=self.num_days - 1)
