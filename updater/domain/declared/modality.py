"""A behaviour source of the lake, as the config declares it."""

import re
from dataclasses import dataclass
from string import Formatter
from typing import Literal

from updater.domain.values import Checked, Number
from updater.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
RESERVED_COLUMNS = frozenset({"user_id", "event_id", "event_time", "op", "ds"})
FORMAT = re.compile(r"[,_]?(\.\d{1,2})?[eEfFgG%]")
"""How a template rounds a number, as a format specification of Python: `.0f`, `,.2f`, `.1%`."""


@dataclass(frozen=True, kw_only=True)
class Modality(Checked, table="modalities"):
    """One modality. Raises ConfigError if it declares nothing to encode or a column twice."""

    name: str
    kind: Literal["stream", "snapshot"] = "stream"
    """`stream`: events append. `snapshot`: a user's newest row set replaces the older one and does not expire."""
    text: str = ""
    """Template over columns, e.g. "{category} at {merchant} for {amount:.0f}". It must not depend on "now"."""
    numeric: tuple[str, ...] = ()
    """Columns beside the text; the first is the amount that is added up."""
    category: str = ""
    """The column that training data, fidelity questions and textual profiles group by; empty for none."""
    max_events: Number = 64
    """Newest events that become tokens of the paper's layout."""
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
        fields = self._checked_fields(where)
        if bad := sorted(RESERVED_COLUMNS & {*fields, *self.numeric, self.category}):
            raise ConfigError(f"{where} uses the reserved column {bad[0]!r}; name another column.")

    def _checked_fields(self, where: str) -> tuple[str, ...]:
        try:
            parsed = self._parsed()
        except ValueError as error:
            raise ConfigError(f"{where}: text template {self.text!r} is malformed: {error}.") from None
        for _, field, specification, conversion in parsed:
            if field is None:
                continue
            if not field.isidentifier():
                raise ConfigError(f"{where}: text template field {{{field}}} is not a plain column name.")
            if conversion:
                raise ConfigError(
                    f"{where}: text template field {{{field}!{conversion}}} has a conversion, which templates do not "
                    f"have; write {{{field}}}."
                )
            if specification and not FORMAT.fullmatch(specification):
                raise ConfigError(
                    f"{where}: text template field {{{field}:{specification}}} has a format that templates do not "
                    f"have; use one that rounds a number, such as {{{field}:.0f}}, {{{field}:,.2f}} or {{{field}:.1%}}."
                )
        return self.text_columns

    @property
    def template(self) -> tuple[tuple[str, str | None, str], ...]:
        """The text template as parts: a literal, the column after it (None at the end), and how a number in it is
        rounded (empty: the value as it is).
        """
        return tuple((literal, field, specification or "") for literal, field, specification, _ in self._parsed())

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that the text template names, each once, in order."""
        return tuple(dict.fromkeys(field for _, field, _, _ in self._parsed() if field is not None))

    @property
    def rounded_columns(self) -> tuple[tuple[str, str], ...]:
        """Columns that the text template rounds, each with its format specification."""
        pairs = ((field, how) for _, field, how in self.template if field is not None and how)
        return tuple(dict.fromkeys(pairs))

    def _parsed(self) -> list[tuple[str, str | None, str | None, str | None]]:
        return [*Formatter().parse(self.text)]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns beyond the keys that a partition of this modality must have."""
        extra = (self.category,) if self.category else ()
        return tuple(dict.fromkeys((*self.text_columns, *self.numeric, *extra)))
