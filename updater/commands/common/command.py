"""What every command is made of: its options, errors as one sentence, a progress bar, a report as JSON or a table."""

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from functools import wraps
from typing import Any, NoReturn

import click

from updater import tables
from updater.domain.values import Device, check
from updater.errors import ConfigError, UpdaterError
from updater.settings import Settings, load_settings


class Day(click.ParamType[date]):
    """A date as YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Parse `value`, or say what a date looks like."""
        try:
            day = value if isinstance(value, date) else datetime.strptime(value, "%Y-%m-%d").date()
        except ValueError:
            self.fail(f"{value!r} is not a date of the form YYYY-MM-DD.", param, ctx)
        # A window needs its buffer before it and a day after it.
        if not 1970 <= day.year < 9999:
            self.fail(f"{value!r} does not lie in the years 1970 to 9998.", param, ctx)
        return day


DAY = Day()
VERBOSE = "Log what each step does and how long it takes, on standard error."
EXTRAS = {
    **dict.fromkeys(("torch", "transformers", "safetensors", "tokenizers", "huggingface_hub"), "run"),
    **dict.fromkeys(("airflow",), "airflow"),
    **dict.fromkeys(("matplotlib", "sklearn"), "evaluate"),
    **dict.fromkeys(("accelerate", "peft", "tensorboard"), "train"),
    **dict.fromkeys(("datasets", "trl"), "profile"),
}
"""The extra that installs a package; what only reads features needs none of them."""
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def command_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that every command has, and errors as one sentence with the exit code of their kind."""

    own = list(getattr(command, "__click_params__", []))

    @click.option("--config", metavar="FILE", help="Config file (TOML); default: $UPDATER_CONFIG, then ./updater.toml.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON value for machines instead of tables.")
    @click.option("--verbose", is_flag=True, help=VERBOSE)
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @wraps(command)
    def run(config: str | None, as_json: bool, verbose: bool, debug: bool, **options: Any) -> None:
        log(verbose)
        with errors_as_sentences(debug):
            command(load_settings(config), as_json, **options)

    # Help shows the common options below the command's own ones; click has the list the other way round.
    common = run.__click_params__[len(own) :]  # type: ignore[attr-defined]
    run.__click_params__ = [*common, *own]  # type: ignore[attr-defined]
    return run


@contextmanager
def errors_as_sentences(debug: bool, interrupted: str = "run the same command again to resume.") -> Iterator[None]:
    """End the process with one sentence and the exit code of the error's kind; what click raises is left to click."""
    try:
        yield
    except click.ClickException:
        raise
    except UpdaterError as error:
        stop(error, error.exit_code, debug)
    except KeyboardInterrupt as error:
        stop(error, 130, debug, f"Interrupted; {interrupted}")
    except Exception as error:
        if missing := missing_extra(error):
            stop(error, ConfigError.exit_code, debug, missing)
        stop(error, 1, debug, f"{type(error).__name__}: {error} (run again with --debug for the traceback).")


def computes(command: Callable[..., Any]) -> Callable[..., Any]:
    """For commands in which the model computes: where it does; to be written below `command_options`."""

    @click.option(
        "--device",
        metavar="DEVICE",
        help="Where the model computes: cpu, cuda, cuda:N or auto (cuda if there is one); default: [model] device.",
    )
    @wraps(command)
    def run(settings: Settings, as_json: bool, device: str | None, **options: Any) -> Any:
        from updater.runtime.device import model_device

        if device is not None:
            check(Device, device, "--device")
            settings = replace(settings, model=replace(settings.model, device=device))
        # Before anything is read or written.
        model_device(settings, "--device" if device is not None else "model.device")
        return command(settings, as_json, **options)

    return run


def missing_extra(error: Exception) -> str | None:
    """What to install where a package of an extra is missing; None for any other error."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in EXTRAS:
        return None
    return f"This command needs the package {package}; run `pip install 'updater[{EXTRAS[package]}]'`."


def log(verbose: bool) -> None:
    """Send the log to standard error: what was done with `verbose`, else warnings only."""
    logging.basicConfig(level=logging.ERROR, format=FORMAT if verbose else logging.BASIC_FORMAT)
    logging.getLogger("updater").setLevel(logging.INFO if verbose else logging.WARNING)


def stop(error: BaseException, code: int, debug: bool, message: str | None = None) -> NoReturn:
    """End the process with an exit code and one sentence on standard error."""
    if debug:
        traceback.print_exception(error)
    click.echo(f"updater: {message or error}", err=True)
    sys.exit(code)


class ProgressLines:
    """Progress as lines of text, where there is no terminal to draw on: what is done, for how long, how much longer.

    Args:
        write: takes a line.
        clock: seconds that only grow.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._step, self._began, self._first = "", clock(), 0
        self._said = self._began

    def __call__(self, label: str, done: int, total: int) -> None:
        """Say what is done, unless a line was written shortly before. What a label has in brackets may change."""
        now, step = self._clock(), label.partition(" (")[0]
        if step != self._step:
            self._step, self._began, self._first = step, now, done
        if now - self._said < SECONDS_BETWEEN_LINES:
            return
        self._said = now
        spent = now - self._began
        left = spent / (done - self._first) * (total - done) if done > self._first else None
        rest = "" if left is None else f", about {left:,.0f} s left"
        self._write(f"{label}: {done:,} of {total:,}, {spent:,.0f} s{rest}")


SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress_lines(as_json: bool) -> Iterator[Any]:
    """As `progress_bar`, and lines on standard error where there is no terminal: for what takes long."""
    if as_json or sys.stderr.isatty():
        with progress_bar(as_json) as progress:
            yield progress
    else:
        yield ProgressLines(lambda line: click.echo(line, err=True), time.monotonic)


@contextmanager
def progress_bar(as_json: bool) -> Iterator[Any]:
    """A progress callback that draws on a terminal, and is silent elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Lines of a log and a bar would write over each other.
    hidden = as_json or not sys.stderr.isatty() or logging.getLogger("updater").isEnabledFor(logging.INFO)
    with Progress(*columns, transient=True, disable=hidden, console=tables.console(err=True)) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda label, done, total: bar.update(task, description=label, completed=done, total=total)


def print_result(value: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print a report as JSON or for people."""
    if as_json:
        click.echo(json.dumps(value, default=str))
    else:
        show(value)
