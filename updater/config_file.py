"""From TOML tables to dataclasses: strictly, and with the nearest known name for an unknown one."""

import dataclasses
import difflib
import json
from collections.abc import Iterable
from datetime import date
from typing import Any, get_args, get_origin, get_type_hints

from updater.errors import ConfigError


class Text(str):
    """A value from the environment, converted to its field's type when that is known."""


def build(cls: type, raw: Any, where: str) -> Any:
    """An instance of dataclass `cls` from the TOML table `raw`, which lies at key `where` of the config.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where or 'config'} must be a table, not {raw!r}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    values = {}
    for key, value in raw.items():
        name = f"{where}.{key}" if where else key
        if key not in fields:
            origin = " (from the environment)" if isinstance(value, Text) else ""
            raise ConfigError(f"config key {name!r}{origin} is unknown{nearest(key, list(fields))}")
        values[key] = _convert(hints[key], value, name)
    required = [f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise ConfigError(f"config key {(where + '.' if where else '') + missing[0]!r} is missing.")
    return cls(**values)


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, name)
    if get_origin(hint) is tuple:
        if isinstance(value, Text):
            value = _list(value, name)
        if not isinstance(value, list):
            raise ConfigError(f"{name} must be a list, not {value!r}.")
        labels = [item.get("name", i) if isinstance(item, dict) else i for i, item in enumerate(value)]
        labelled = zip(value, labels, strict=True)
        return tuple(_convert(get_args(hint)[0], item, f"{name}.{label}") for item, label in labelled)
    if hint in (date, date | None):
        return _date(value, name)
    if hint in (int, float, bool) and isinstance(value, Text):
        try:
            value = {"true": True, "false": False}[value.lower()] if hint is bool else hint(value)
        except (KeyError, ValueError):
            raise ConfigError(f"{name} is {str(value)!r}; it must be a {hint.__name__}.") from None
    if hint is date and isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise ConfigError(f"{name} is {str(value)!r}; it must be a day of the form YYYY-MM-DD.") from None
    if hint is float and type(value) is int:
        value = float(value)
    value = str(value) if isinstance(value, Text) else value
    if hint in (int, float, bool, str, date) and type(value) is not hint:
        raise ConfigError(f"{name} is {value!r}; it must be a {hint.__name__}.")
    return value


def _date(value: Any, name: str) -> date:
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is {value!r}; it must be a date, YYYY-MM-DD.") from None


def _list(text: str, name: str) -> Any:
    if not text.startswith("["):
        return [part for part in text.split(",") if part]
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name} is {str(text)!r}, which is no JSON list ({error}).") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown `word`: the known one that is most like it, or those there are."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known[:20])}."
