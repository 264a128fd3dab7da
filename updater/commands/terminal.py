"""Output that never fails because of a missing character: ASCII and Latin-1 terminals and logs get an escape."""

import sys
from io import TextIOWrapper
from typing import Any

import click


class Commands(click.Group):
    """A group of commands, all of which may print whatever a config or a lake holds, help texts included."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line."""
        escape_unprintable()
        return super().main(*args, **options)


def escape_unprintable() -> None:
    r"""Have standard output and error write what their encoding lacks as `\xe9` or `\u2026`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
