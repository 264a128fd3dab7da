"""Former spellings of commands and options: for one release they work, hidden, with a warning."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click


def warn_of_former(former: str, present: str) -> None:
    """Say on standard error that a spelling will go."""
    click.echo(f"updater: `{former}` is now `{present}`; the former spelling goes with the next release.", err=True)


def formerly(former: str, present: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command take `former` for the option `present`; to be written above the options' common decorators.

    Args:
        former: the former option, such as `--audit`.
        present: the option that takes its place and has the same type; its parameter's name follows from it.
        options: how click reads the former option; a flag if left out.
    """
    hidden, name = f"former_{former.strip('-').replace('-', '_')}", present.strip("-").replace("-", "_")

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(former, hidden, hidden=True, **(options or {"is_flag": True}))
        @wraps(command)
        def run(**given: Any) -> Any:
            value = given.pop(hidden)
            if value:
                warn_of_former(f"{click.get_current_context().command_path} {former}", present)
                given[name] = value
            return command(**given)

        return run

    return decorate
