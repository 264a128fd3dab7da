"""Claims: the smallest statements of an answer, each able to check itself against the log."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from updater.training.useru.facts.events import Profile
from updater.training.useru.facts.measures import MEASURES, Scope, Value, value_of


@dataclass(frozen=True)
class Claim:
    """`measure` of `scope` is `value`."""

    measure: str
    """A key of MEASURES."""
    scope: Scope
    value: Value

    def holds(self, profile: Profile) -> bool:
        """True if the log says the same."""
        return self.value == value_of(profile, self.measure, self.scope)

    def corrected(self, profile: Profile) -> "Claim | None":
        """What the log says instead; None if it says nothing."""
        return claim(profile, self.measure, self.scope)

    def text(self, profile: Profile) -> str:
        """The claim as a sentence; only the profile's length is taken from `profile`."""
        return MEASURES[self.measure].sentence.format(
            value=_written(self.value),
            s="" if self.value == 1 else "s",
            what=" ".join(filter(None, (self.scope.category, _words(self.scope.modality)))) or "tracked",
            column=_words(self.scope.column),
            when=_period(self.scope, profile.num_days),
        )


def claim(profile: Profile, measure: str, scope: Scope) -> Claim | None:
    """What the log says about `measure` of `scope`; None if nothing."""
    value = value_of(profile, measure, scope)
    return None if value is None else Claim(measure, scope, value)


def claims_to_json(claims: tuple[Claim, ...]) -> str:
    """Claims as one JSON text, the same for equal claims."""
    return json.dumps([asdict(claim) for claim in claims], ensure_ascii=False, sort_keys=True)


def claims_from_json(text: str) -> tuple[Claim, ...]:
    """The inverse of `claims_to_json`."""
    return tuple(Claim(raw["measure"], Scope(**raw["scope"]), _value(raw["value"])) for raw in json.loads(text))


def _value(raw: Any) -> Value:
    return tuple(raw) if isinstance(raw, list) else float(raw)


def _written(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_words, value))
    return str(int(value)) if value == int(value) else f"{value:.2f}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _period(scope: Scope, num_days: int) -> str:
    if scope.skip:
        return f"in the {scope.days} days before the last {scope.skip} days"
    return f"in the last {scope.days or num_days} days"
