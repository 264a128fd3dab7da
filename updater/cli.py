"""The command line: parses, calls the pipeline, prints."""

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from functools import wraps
from typing import Any

import click

from updater import __version__, tables
from updater.errors import UpdaterError
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


def verb(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that every verb has, and errors as one sentence with the exit code of their kind."""

    @click.option("--config", metavar="FILE", help="Config file (TOML); default: $UPDATER_CONFIG, then ./updater.toml.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON value for machines instead of tables.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @wraps(command)
    def run(config: str | None, as_json: bool, debug: bool, **options: Any) -> None:
        logging.basicConfig(level=logging.ERROR)
        logging.getLogger("updater").setLevel(logging.DEBUG if debug else logging.ERROR)
        try:
            command(load_settings(config), as_json, **options)
        except click.ClickException:
            raise
        except UpdaterError as error:
            _stop(error, error.exit_code, debug)
        except KeyboardInterrupt as error:
            _stop(error, 130, debug, "Interrupted; run the same command again to go on.")
        except Exception as error:
            _stop(error, 1, debug, f"{type(error).__name__}: {error} (run again with --debug for the traceback).")

    return run


def _stop(error: BaseException, code: int, debug: bool, message: str | None = None) -> None:
    if debug:
        traceback.print_exception(error)
    click.echo(f"updater: {message or error}", err=True)
    sys.exit(code)


@contextmanager
def progress_bar(as_json: bool) -> Iterator[Any]:
    """A progress callback that draws on a terminal, and is silent elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, transient=True, disable=as_json or not sys.stderr.isatty(), console=tables.console(err=True)
    ) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda label, done, total: bar.update(task, description=label, completed=done, total=total)


def emit(value: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print a report as JSON or for people."""
    if as_json:
        click.echo(json.dumps(value, default=str))
    else:
        show(value)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__)
def main() -> None:
    """Daily-fresh, scenario-adaptive user embeddings in your own feature store.

    Exit codes: 0 done; 2 usage or config; 3 data not landed; 4 data refused; 5 gap or out of order; 6 verification
    failed;
    1 anything else.
    """


@main.command()
@verb
def init(settings: Settings, as_json: bool) -> None:
    """Create the ledger and the state, and apply the feature repository.

    Safe to repeat, as after adding a scenario.
    """
    from updater.pipeline.setup import initialise

    emit(asdict(initialise(settings)), as_json, tables.show_setup)


@main.command()
@click.option("--ds", type=DAY, required=True, help="Landing day of the window, YYYY-MM-DD in the config's timezone.")
@click.option(
    "--dry-run", is_flag=True, help="Print the plan (who, which modality, why, at what cost) and change nothing."
)
@verb
def run(settings: Settings, as_json: bool, ds: date, dry_run: bool) -> None:
    """Run one daily window: detect, encode, refresh, publish, materialise, commit.

    The first one builds the whole buffer.
    """
    from updater.pipeline.context import open_context

    context = open_context(settings)
    if dry_run:
        from updater.pipeline.dry_run import plan_window

        emit(asdict(plan_window(context, ds)), as_json, tables.show_plan)
        return
    from updater.pipeline.daily import run_window
    from updater.pipeline.workers import Workers

    with progress_bar(as_json) as progress, Workers(settings, context.now) as workers:
        report = run_window(context, workers, ds, progress)
    emit(report.to_json(), as_json, lambda value: tables.show_windows([value]))


@main.command()
@click.option("--from-date", type=DAY, required=True, help="First landing day, YYYY-MM-DD, inclusive.")
@click.option("--to-date", type=DAY, required=True, help="Last landing day, YYYY-MM-DD, inclusive.")
@click.option(
    "--dry-run", is_flag=True, help="Print which windows are missing or would be restated, and change nothing."
)
@click.option(
    "--restate",
    is_flag=True,
    help="First recompute what rests on partitions of the range that were rewritten after processing.",
)
@verb
def backfill(settings: Settings, as_json: bool, from_date: date, to_date: date, dry_run: bool, restate: bool) -> None:
    """Run the missing windows of a range, oldest first. Killed and run again, it goes on where it was."""
    from updater.pipeline.context import open_context

    if to_date < from_date:
        raise click.BadParameter("lies before --from-date.", param_hint="--to-date")
    context = open_context(settings)
    if dry_run:
        from updater.pipeline.dry_run import plan_backfill

        emit(asdict(plan_backfill(context, from_date, to_date, restate)), as_json, tables.show_backfill_plan)
        return
    from updater.pipeline.backfill import backfill as run_backfill
    from updater.pipeline.restate import restate_range as run_restatement
    from updater.pipeline.workers import Workers

    with progress_bar(as_json) as progress, Workers(settings, context.now) as workers:
        restated = run_restatement(context, workers, from_date, to_date, progress) if restate else None
        reports = run_backfill(context, workers, from_date, to_date, progress)
    value = {"restated": restated, "windows": [report.to_json() for report in reports]}
    emit(value, as_json, tables.show_backfill)


@main.command()
@verb
def status(settings: Settings, as_json: bool) -> None:
    """Show the watermark, waiting days, rewritten partitions, last runs, sizes (files and bytes) and versions."""
    from updater.pipeline.context import open_context
    from updater.pipeline.status import status as look

    emit(asdict(look(open_context(settings))), as_json, tables.show_status)


@main.command()
@click.option("--sample", type=click.IntRange(min=1), default=100, show_default=True, help="Number of users to check.")
@click.option("--all", "everyone", is_flag=True, help="Check every user.")
@verb
def verify(settings: Settings, as_json: bool, sample: int, everyone: bool) -> None:
    """Compare the state with a full rebuild from the lake, and the online store with the offline rows."""
    from updater.pipeline.context import open_context
    from updater.pipeline.verify import raise_if_different
    from updater.pipeline.verify import verify as check

    with progress_bar(as_json) as progress:
        report = check(open_context(settings), None if everyone else sample, progress)
    emit(asdict(report), as_json, tables.show_verification)
    raise_if_different(report)


@main.command()
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    help="Daily windows to run; the last one through Airflow.",
)
@click.option(
    "--first-day",
    type=DAY,
    default="2017-06-30",
    show_default=True,
    help="Landing day up to which the state is built first.",
)
@click.option(
    "--airflow/--no-airflow", default=True, show_default=True, help="Run the last day through the Airflow DAG."
)
@click.option("--config", metavar="FILE", help="Config file (TOML); default: configs/demo.toml of the checkout.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def demo(ctx: click.Context, config: str | None, debug: bool, days: int, first_day: date, airflow: bool) -> None:
    """Tell the whole story on the public Complete Journey data.

    It lands the data, builds the state, runs daily windows, verifies them, and reads features back.
    """
    from updater import demo as story

    try:
        with progress_bar(as_json=False) as progress:
            story.tell(load_settings(config or story.config_file()), first_day, days, airflow, progress)
    except UpdaterError as error:
        _stop(error, error.exit_code, debug)


if __name__ == "__main__":
    main()
