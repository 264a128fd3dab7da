"""Who may read what through Feast's servers, as the config declares it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from updater.domain.declared.modality import NAME
from updater.domain.values import Checked
from updater.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Auth(Checked, table="auth"):
    """How Feast's servers find out who asks."""

    type: Literal["no_auth", "oidc", "kubernetes"] = "no_auth"
    """no_auth, oidc or kubernetes; all other keys of the section go to Feast's `auth` of that type."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Permission(Checked, table="permissions"):
    """Who may read the features of a domain."""

    domain: str
    """Domain of scenarios, such as risk."""
    roles: tuple[str, ...]
    """Roles that may read its feature services and views; one of them is enough."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not NAME.fullmatch(self.domain):
            raise ConfigError(f"[[permissions]] domain {self.domain!r} is not lower-case letters, digits and _.")
        if not self.roles or not all(role.strip() for role in self.roles):
            raise ConfigError(f"[[permissions]] of domain {self.domain!r} names no role; name those that may read it.")


def check_permissions(permissions: tuple[Permission, ...], domains: set[str]) -> None:
    """Raise ConfigError if a domain is declared twice, or one of a declared and a scenario's domain lacks the other.

    Feast denies what no permission names, so a domain that was forgotten would be closed to everybody.
    """
    named = [permission.domain for permission in permissions]
    if twice := [domain for domain in named if named.count(domain) > 1]:
        raise ConfigError(f"[[permissions]] declares domain {twice[0]!r} twice; name all its roles in one.")
    if unknown := sorted(set(named) - domains):
        raise ConfigError(f"[[permissions]] names domain {unknown[0]!r}, which no scenario has.")
    if named and (missing := sorted(domains - set(named))):
        raise ConfigError(
            f"domain {missing[0]!r} has no entry in [[permissions]] and would be unreadable; add its roles."
        )
