"""Reference pages that are made from the program: its commands, its config keys and its Python interface."""

import ast
import dataclasses
import inspect
import itertools
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from updater.cli import main
from updater.settings import Settings

PYTHON = ("updater.api", "updater.errors")


def pages() -> dict[str, str]:
    """Markdown by name."""
    return {"commands": commands(), "config": config(), "python": python()}


def commands() -> str:
    """Every command that is not hidden, with what `--help` says."""
    parts = [
        "# Commands",
        "What `--help` prints. [Operations](../docs/operations.md) says when to use what.",
        main.help,
    ]
    parts += [part for path, command in leaves(main, "updater") for part in command_parts(path, command)]
    return "\n\n".join(inspect.cleandoc(part) for part in parts if part)


def leaves(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Commands below a group, with their whole names."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{prefix} {name}")
        elif not command.hidden:
            yield f"{prefix} {name}", command


def command_parts(path: str, command: click.Command) -> Iterator[str]:
    """Heading, text and table of one command."""
    yield f"## `{path}`"
    yield command.help or ""
    rows = [option_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        yield "\n".join(["| option | means |", "|---|---|", *rows])


def option_row(parameter: click.Parameter) -> str:
    """One line of the table of a command."""
    if isinstance(parameter, click.Argument):
        return f"| `{parameter.make_metavar(click.Context(main))}` | {'required' if parameter.required else ''} |"
    assert isinstance(parameter, click.Option)
    name = ", ".join([*parameter.opts, *parameter.secondary_opts])
    takes = "" if parameter.is_flag else f" {parameter.make_metavar(click.Context(main))}"
    required = " Required." if parameter.required else ""
    return f"| `{cell(name + takes)}` | {cell(parameter.help or '')}{required} |"


def config() -> str:
    """Every key of the config file with its type, its default and its docstring."""
    parts = [
        "# Config keys",
        "TOML; every value can come from the environment as `UPDATER_<TABLE>__<KEY>`. "
        "[Data contracts](../docs/data_contracts.md#the-config-file) has the rules and a whole file.",
    ]
    top = table(Settings, skip=tables())
    parts += ["## Top level", top] if top else []
    for name, kind in tables().items():
        mark = f"[[{name}]]" if is_list(get_type_hints(Settings)[name]) else f"[{name}]"
        parts += [f"## `{mark}`", inspect.getdoc(kind) or "", table(kind)]
    return "\n\n".join(part for part in parts if part)


def tables() -> dict[str, type]:
    """The dataclass of each table of the config."""
    found = {}
    for name, hint in get_type_hints(Settings).items():
        kind = next(iter(get_args(hint)), hint)
        if dataclasses.is_dataclass(kind):
            found[name] = kind
    return found


def is_list(hint: Any) -> bool:
    """Whether a table is an array of tables."""
    return get_origin(hint) in (tuple, list)


def table(kind: Any, skip: Mapping[str, Any] = types.MappingProxyType({})) -> str:
    """The keys of one dataclass as a table."""
    texts, hints = field_texts(kind), get_type_hints(kind)
    shown = [f for f in dataclasses.fields(kind) if f.name not in skip and f.name not in ("options", "source")]
    rows = [
        f"| `{f.name}` | {cell(type_name(hints[f.name]))} | {default(f)} | {cell(texts.get(f.name, ''))} |"
        for f in shown
    ]
    return "\n".join(["| key | type | default | means |", "|---|---|---|---|", *rows]) if rows else ""


def field_texts(kind: Any) -> dict[str, str]:
    """The docstring below each field of a dataclass, also of those that it inherits."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        [definition] = ast.parse(inspect.cleandoc(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in itertools.pairwise(definition.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as said)):
                    found[name] = inspect.cleandoc(said)
    return found


def type_name(hint: Any) -> str:
    """A type as a person who writes TOML would say it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(str(argument) for argument in arguments)
    if origin in (types.UnionType,) or (arguments and type(None) in arguments):
        return " or ".join(type_name(argument) for argument in arguments if argument is not type(None))
    if origin in (tuple, list, frozenset):
        return f"list of {type_name(arguments[0])}"
    if origin is not None and issubclass(origin, Mapping):
        return "table"
    return {"str": "string", "int": "whole number", "float": "number", "bool": "true, false"}.get(
        getattr(hint, "__name__", ""), getattr(hint, "__name__", str(hint))
    )


def default(field: dataclasses.Field[Any]) -> str:
    """The default of a field as TOML would have it."""
    if field.default is not dataclasses.MISSING:
        value: Any = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None or value in ((), "") or (isinstance(value, Mapping) and not value):
        return ""
    return f"`{cell(list(value) if isinstance(value, tuple) else value)}`"


def python() -> str:
    """The Python interface, from its docstrings."""
    parts = ["# Python interface", "[From Python](../docs/python.md) introduces it."]
    return "\n\n".join([*parts, *(f"::: {name}" for name in PYTHON)])


def cell(value: Any) -> str:
    """Text as one cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
