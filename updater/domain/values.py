"""What a value of the config may be: declared at its field, and checked whenever a table is made."""

import dataclasses
import math
import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Interval, Predicate

from updater.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# An open end at infinity (lt) leaves infinity out, a closed one (le) lets it in; no range lets NaN in.
Number = Annotated[int, Ge(0)]
AtLeastOne = Annotated[int, Ge(1)]
Days = Annotated[int, Interval(ge=1, le=36_500)]
DaysOrNone = Annotated[int, Interval(ge=0, le=36_500)]
Processes = Annotated[int, Interval(ge=0, le=4096)]
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
Share = Annotated[float, Interval(ge=0, le=1)]
PositiveShare = Annotated[float, Interval(gt=0, le=1)]
NotNegative = Annotated[float, Interval(ge=0, lt=math.inf)]
Positive = Annotated[float, Interval(gt=0, lt=math.inf)]


def _is_device(text: str) -> bool:
    return re.fullmatch(r"cpu|auto|cuda(:\d{1,3})?", text) is not None


Device = Annotated[str, Predicate(_is_device)]
"""Where a model computes, as PyTorch writes it, or `auto`."""
EmbeddingFormat = Literal["float32", "float16", "int8"]
"""How the numbers of an embedding lie in the online store."""


class Checked:
    """Base of the config's tables: a ConfigError names the first value that its declared type does not permit."""

    table: ClassVar[str]
    """Name of the table in the config file."""

    def __init_subclass__(cls, table: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.table = table

    def __post_init__(self) -> None:
        name = getattr(self, "name", "")
        where = f"{self.table}.{name}" if name else self.table
        cls: type = type(self)
        for field, hint in field_types(cls).items():
            check(hint, getattr(self, field), f"{where}.{field}")


@cache
def field_types(cls: type) -> Mapping[str, Any]:
    """The declared type of each field of a dataclass, ranges included."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def check(hint: Any, value: Any, name: str) -> Any:
    """`value` as the type `hint` has it: no text is taken for a number, but a whole number for a float.

    Raises:
        ConfigError: it is not permitted; the message has `name` and what is.
    """
    if dataclasses.is_dataclass(hint):  # A table within a table has checked itself.
        if isinstance(hint, type) and isinstance(value, hint):
            return value
        raise ConfigError(_refusal(hint, value, name))
    try:
        return _adapter(hint).validate_python(value)
    except ValueError:  # as pydantic's ValidationError is
        raise ConfigError(_refusal(hint, value, name)) from None


def parse(hint: Any, text: str, name: str) -> Any:
    """`text` read as a value of the type `hint`. Raises ConfigError as `check` does."""
    try:
        if bare(hint) is bool:
            return {"true": True, "false": False}[text.lower()]
        return _adapter(hint).validate_strings(text)
    except (ValueError, KeyError):
        raise ConfigError(_refusal(hint, text, name)) from None


@cache
def _adapter(hint: Any) -> "TypeAdapter[Any]":
    # Importing pydantic takes as long as all the rest of this package's light modules.
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True))


def bare(hint: Any) -> Any:
    """`hint` without the range that annotates it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def takes_dates(hint: Any) -> bool:
    """Whether a value of the type `hint` is a date, or a date or nothing."""
    return date in (get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,))


def range_of(hint: Any) -> Interval:
    """The range that annotates `hint`; ends that are not declared are None."""
    ends: dict[str, Any] = {}
    for item in hint.__metadata__ if get_origin(hint) is Annotated else ():
        ends |= {end: getattr(item, end) for end in ("gt", "ge", "lt", "le") if getattr(item, end, None) is not None}
    return Interval(**ends)


def _refusal(hint: Any, value: Any, name: str) -> str:
    return f"{name} is {value!r}; use {permitted(hint)}."


def permitted(hint: Any) -> str:
    """The values of the type `hint`, as the end of a sentence that begins with "use"."""
    kind = bare(hint)
    if hint == Device:
        return "'cpu', 'cuda', 'cuda:N' (such as 'cuda:0') or 'auto'"
    if get_origin(kind) is Literal:
        *first, last = map(repr, get_args(kind))
        return f"{', '.join(first)} or {last}" if first else last
    if takes_dates(kind):
        return "a date, YYYY-MM-DD"
    if get_origin(kind) is tuple:
        return "a list"
    if kind in (int, float):
        return _permitted_number(kind, range_of(hint))
    return {bool: "true or false", str: "a string"}.get(kind, "a table")


def _permitted_number(kind: type, ends: Interval) -> str:
    noun = "a whole number" if kind is int else "a finite number" if ends.lt == math.inf else "a number"
    low = f" above {ends.gt}" if ends.gt is not None else f" of {ends.ge} or more" if ends.ge is not None else ""
    if ends.le == math.inf:
        return f"{noun}{low}, or inf"
    if ends.le is not None:
        return f"{noun} from {ends.ge} to {ends.le}" if ends.ge is not None else f"{noun}{low}, at most {ends.le}"
    return f"{noun}{low}, below {ends.lt}" if ends.lt not in (None, math.inf) else f"{noun}{low}"
