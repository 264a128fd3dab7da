"""A behaviour source of the lake, as the config declares it."""

import re
from dataclasses import dataclass
from string import Formatter
from typing import Literal

from updater.domain.values import Checked, Number
from updater.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
RESERVED_COLUMNS = frozenset({"user_id", "event_id", "event_time", "op", "ds"})


@dataclass(frozen=True, kw_only=True)
class Modality(Checked, table="modalities"):
    """One modality. Raises ConfigError if it declares nothing to encode or a column twice."""

    name: str
    kind: Literal["stream", "snapshot"] = "stream"
    """`stream`: events append. `snapshot`: a user's newest row set replaces the older one and does not expire."""
    text: str = ""
    """Template over columns, e.g. "{category} at {merchant}". It must not depend on "now"."""
    numeric: tuple[str, ...] = ()
    """Columns that are standardised and concatenated to the text vector."""
    category: str = ""
    """The column that training data and fidelity questions group by; empty for none."""
    max_events: Number = 64
    """Newest events that become tokens of the user prefix; the summary always covers all events."""
    optional: bool = False
    """A day of an optional modality may be missing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"modality {self.name!r}"
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"{where}: a name is lower-case letters, digits and underscores, at most 63.")
        if len(set(self.numeric)) < len(self.numeric):
            raise ConfigError(f"{where} lists a numeric column twice: {', '.join(self.numeric)}.")
        if not self.text and not self.numeric:
            raise ConfigError(f"{where} has neither text nor numeric columns; declare at least one.")
        try:
            fields = self.text_columns
        except ValueError as error:
            raise ConfigError(f"{where}: text template {self.text!r} is malformed: {error}.") from None
        if bad := [name for name in fields if not name.isidentifier()]:
            raise ConfigError(f"{where}: text template field {{{bad[0]}}} is not a plain column name.")
        if bad := sorted(RESERVED_COLUMNS & {*fields, *self.numeric, self.category}):
            raise ConfigError(f"{where} uses the reserved column {bad[0]!r}; name another column.")

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that the text template names, each once, in order."""
        return tuple(dict.fromkeys(field for _, field, _, _ in Formatter().parse(self.text) if field is not None))

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns beyond the keys that a partition of this modality must have."""
        extra = (self.category,) if self.category else ()
        return tuple(dict.fromkeys((*self.text_columns, *self.numeric, *extra)))
