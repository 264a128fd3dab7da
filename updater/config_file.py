"""From TOML tables to dataclasses: strictly, and with the nearest known name for an unknown one.

pydantic checks each value (`updater.domain.values`). The walk over tables is ours: it names list items by their
`name`, and answers a variable of the environment that means nothing, which pydantic-settings would pass over.
"""

import dataclasses
import difflib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from updater.domain.values import bare, check, field_types, parse, takes_dates
from updater.errors import ConfigError

logger = logging.getLogger(__name__)

ENV_PREFIX = "UPDATER_"
SERVICE_VARIABLE = re.compile(
    r"UPDATER(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""What Kubernetes sets in each pod for a Service called `updater` or `updater-web`, besides `UPDATER_PORT`, a URL."""


class Text(str):
    """A value from the environment, converted to its field's type when that is known."""


class TextTable(dict[str, Any]):
    """A table that only the environment has."""


def override(raw: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put the values of variables such as UPDATER_LEDGER__URL into the TOML tables `raw`.

    Raises:
        ConfigError: a variable names no value that a config can have.
    """
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or _is_of_a_service(variable, text):
            continue
        *tables, key = variable.removeprefix(ENV_PREFIX).lower().split("__")
        target: Any = raw
        for depth, name in enumerate(tables):
            if isinstance(target, list):
                target = next((item for item in target if isinstance(item, dict) and item.get("name") == name), None)
            else:
                target = target.setdefault(name, TextTable()) if depth == 0 else target.get(name)
            if not isinstance(target, dict | list):
                raise ConfigError(f"environment variable {variable} names an unknown config section.")
        if isinstance(target, list):
            raise ConfigError(f"environment variable {variable} needs the form {variable}__KEY.")
        target[key] = Text(text)


def _is_of_a_service(variable: str, text: str) -> bool:
    is_port = re.fullmatch(r"UPDATER(_[A-Z0-9]+)*_PORT", variable) and re.match("(tcp|udp|sctp)://", text)
    return bool(is_port or SERVICE_VARIABLE.fullmatch(variable))


def rename_keys(raw: dict[str, Any], renamed: Mapping[str, str], where: str) -> None:
    """Give values their present keys in `raw`, the TOML tables of the file `where`, with a warning for each.

    A value that is there under both keys is read from the present one.

    Args:
        raw: the tables.
        renamed: former dotted keys to the last part of the present ones, in the order in which they are renamed.
        where: the file.
    """
    for former, present in renamed.items():
        *tables, key = former.split(".")
        table: Any = raw
        for name in tables:
            table = table.get(name) if isinstance(table, dict) else None
        if not isinstance(table, dict) or key not in table:
            continue
        value, kept = table.pop(key), table.get(present)
        logger.warning(
            "config key %r%s of %s is now called %r; the former name stops working in the next release.",
            former,
            _origin(value),
            where,
            ".".join([*tables, present]),
        )
        if kept is None:
            table[present] = value
        elif isinstance(value, dict) and isinstance(kept, dict):
            table[present] = {**value, **kept}


def build(cls: type, raw: Any, where: str) -> Any:
    """An instance of dataclass `cls` from the TOML table `raw`, which lies at key `where` of the config.

    Raises:
        ConfigError: a key is unknown or missing, or a value is not one of those that its field permits.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where or 'config'}{_origin(raw)} must be a table, not {_plain(raw)!r}.")
    hints = field_types(cls)
    values = {}
    for key, value in raw.items():
        name = f"{where}.{key}" if where else key
        if key not in hints:
            raise ConfigError(f"config key {name!r}{_origin(value)} is unknown{nearest(key, list(hints))}")
        values[key] = _convert(hints[key], value, name)
    required = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise ConfigError(f"config key {(where + '.' if where else '') + missing[0]!r} is missing.")
    return cls(**values)


def _convert(hint: Any, value: Any, name: str) -> Any:
    kind = bare(hint)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, name)
    if get_origin(kind) is tuple:
        if isinstance(value, Text):
            value = _list(value, name)
        if not isinstance(value, list):
            raise ConfigError(f"{name} must be a list, not {value!r}.")
        labels = [item.get("name", i) if isinstance(item, dict) else i for i, item in enumerate(value)]
        labelled = zip(value, labels, strict=True)
        return tuple(_convert(get_args(kind)[0], item, f"{name}.{label}") for item, label in labelled)
    if isinstance(value, Text) or (isinstance(value, str) and takes_dates(kind)):
        return parse(hint, str(value), f"{name}{_origin(value)}")
    return value if kind is Path else check(hint, value, name)


def _list(text: Text, name: str) -> list[Any]:
    if not text.startswith("["):
        return [Text(part) for part in text.split(",") if part]
    try:
        items: list[Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}{_origin(text)} is {str(text)!r}, which is not a JSON list ({error}).") from None
    return items


def _origin(value: Any) -> str:
    return " (from the environment)" if isinstance(value, Text | TextTable) else ""


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Text) else value


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown `word`: the known one that is most like it, or those there are."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known[:20])}."
