"""What the config says about personal data."""

import re
from dataclasses import dataclass

from updater.domain.values import Checked
from updater.errors import ConfigError

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OURS = "UPDATER_ID_KEY"
"""The one variable with our prefix that may hold a key; all others override config values."""


@dataclass(frozen=True, kw_only=True)
class Privacy(Checked, table="privacy"):
    """Whether the state has users' ids or pseudonyms."""

    pseudonymize: bool = False
    """True: a keyed hash replaces each user_id where rows of the lake are read; fixed once state exists."""
    key_env: str = OURS
    """Name of the environment variable that holds the key. The key itself never stands in a config."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not VARIABLE.fullmatch(self.key_env):
            # The value is not repeated: it may be the key itself, put here by mistake.
            raise ConfigError(
                "privacy.key_env is not the name of an environment variable; use one such as 'COMPANY_KEY'."
            )
        if self.key_env.startswith("UPDATER_") and self.key_env != OURS:
            raise ConfigError(
                f"privacy.key_env is {self.key_env!r}, but variables named UPDATER_… override config values; "
                f"use {OURS!r} or a name without that prefix."
            )
