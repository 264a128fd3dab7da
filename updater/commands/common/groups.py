"""Groups of commands: help as a table of contents, and former spellings that still work."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import click

from updater.commands.common.former import warn_of_former
from updater.commands.common.terminal import escape_unprintable

SECTIONS = ("Build", "Run", "Inspect", "Maintain")
"""The life of a deployment, in order."""


class CommandGroup(click.Group):
    """Commands under the headings of a deployment's life. They may print whatever a config or a lake holds.

    Args:
        former: former spellings of commands, and the words by which they are called now.
    """

    def __init__(self, *args: Any, former: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._former = dict(former or {})
        self._sections: dict[str, list[str]] = {section: [] for section in SECTIONS}

    def place(self, section: str, *commands: click.Command) -> None:
        """Add commands below a heading."""
        for command in commands:
            self.add_command(command)
            self._sections[section].append(command.name or "")

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line."""
        escape_unprintable()
        return super().main(*args, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help; groups, which the help shows by their commands, come last."""
        placed = [name for names in self._sections.values() for name in names]
        return [*placed, *sorted(self.commands.keys() - set(placed))]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with; for a former spelling the present one, with a warning."""
        if args[0] not in self._former:
            if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
                ctx.fail(f"No such command {args[0]!r}{self._nearest(ctx, args[0])}")
            return super().resolve_command(ctx, args)
        present = self._former[args[0]]
        warn_of_former(f"{ctx.command_path} {args[0]}", f"{ctx.command_path} {present}")
        group_name, _, name = present.partition(" ")
        group = self.commands[group_name]
        assert isinstance(group, click.Group)
        return present, group.commands[name], args[1:]

    def _nearest(self, ctx: click.Context, word: str) -> str:
        known = {name.rpartition(" ")[2]: name for section in SECTIONS for name, _ in self._listed(section)}
        known |= {name: name for name in self.commands}
        close = get_close_matches(word, known, n=1)
        return f"; did you mean `{ctx.command_path} {known[close[0]]}`?" if close else "."

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands below their headings, those of groups with the group's name before theirs."""
        sections = {section: list(self._listed(section)) for section in SECTIONS}
        names = [name for rows in sections.values() for name, _ in rows]
        widest = max(map(len, names), default=0)
        for section, rows in sections.items():
            if rows:
                with formatter.section(section):
                    short = [(name.ljust(widest), command.get_short_help_str(1000)) for name, command in rows]
                    formatter.write_dl(short)

    def _listed(self, section: str) -> Iterator[tuple[str, click.Command]]:
        for name in self._sections[section]:
            yield name, self.commands[name]
        for name, group in self.commands.items():
            if isinstance(group, CommandGroup):
                yield from ((f"{name} {inner}", command) for inner, command in group._listed(section))
