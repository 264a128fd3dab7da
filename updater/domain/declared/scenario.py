"""A downstream task whose question conditions a user embedding."""

from dataclasses import dataclass

from updater.domain.declared.modality import NAME
from updater.domain.values import Checked
from updater.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Scenario(Checked, table="scenarios"):
    """One scenario: its embedding is read off the user prefix after `query`."""

    name: str
    domain: str
    """Feast feature service that serves it, e.g. risk, marketing, engagement."""
    query: str
    """The business question, in plain language."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("name", "domain"):
            value = getattr(self, field)
            if not NAME.fullmatch(value):
                raise ConfigError(f"scenario {self.name!r}: {field} {value!r} is not lower-case letters, digits and _.")
        if not self.query.strip():
            raise ConfigError(f"scenario {self.name!r} has an empty query; write the question that it answers.")
