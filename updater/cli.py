"""The command line: parses, calls the pipeline, prints."""

from dataclasses import asdict
from datetime import date

import click

from updater import __version__, tables
from updater.commands.common.command import (
    DAY,
    VERBOSE,
    command_options,
    computes,
    log,
    print_result,
    progress_bar,
    stop,
)
from updater.commands.common.former import formerly
from updater.commands.common.groups import CommandGroup
from updater.commands.completion import completion
from updater.commands.model import check_first_model, model
from updater.commands.profile.group import profile
from updater.commands.report import report
from updater.commands.scaffold import new
from updater.commands.state import state
from updater.commands.uqabench import uqabench
from updater.commands.users import user
from updater.errors import UpdaterError
from updater.runtime import garbage  # noqa: F401  for its effect
from updater.settings import Settings, load_settings

FORMER = {
    "audit": "state audit",
    "embed": "user embed",
    "erase": "user erase",
    "evaluate": "model evaluate",
    "maintain": "state compact",
    "metrics": "state metrics",
    "promote": "model promote",
    "prune": "model delete",
    "pseudonym": "user pseudonym",
    "train": "model train",
    "tune": "model tune",
    "verify": "state verify",
}
"""Former spellings of commands, and the present ones."""


@click.group(
    cls=CommandGroup,
    former=FORMER,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__)
def main() -> None:
    """Daily-fresh, scenario-adaptive user embeddings in your own feature store.

    A new deployment begins with `updater new DIR`, whose README has the next commands; `updater COMMAND --help` has
    the options of each.

    Exit codes: 0 done; 2 usage or config; 3 data not landed; 4 data refused; 5 gap or out of order; 6 verification
    failed or an alert; 7 another command got in the way; 8 other work is unfinished; 9 no window yet; 10 not found;
    11 a server does not answer; 1 anything else. After 7, 8 and 11 the same command again may succeed.
    """


@main.command()
@click.option("--model", metavar="DIR", help="Trained model that a new state begins with; default: untrained weights.")
@command_options
def init(settings: Settings, as_json: bool, model: str | None) -> None:
    """Create ledger and state, and register the feature views.

    Safe to repeat; run it again after adding a scenario.
    """
    from updater.pipeline.init import initialize

    if model is not None:
        check_first_model(settings, model)
    print_result(asdict(initialize(settings, model)), as_json, tables.show_setup)


WINDOW = click.option(
    "--ds", type=DAY, required=True, help="Landing day of the window, YYYY-MM-DD in the config's timezone."
)


@main.command()
@WINDOW
@command_options
def plan(settings: Settings, as_json: bool, ds: date) -> None:
    """Show what a daily window would do; change nothing.

    Prints which users' values would change, in which modality and why, and about how long it would take. The same as
    `updater run --dry-run`.
    """
    show_window_plan(settings, as_json, ds)


def show_window_plan(settings: Settings, as_json: bool, ds: date) -> None:
    """Plan a window, and print the plan."""
    from updater.pipeline.daily.dry_run import plan_window
    from updater.runtime.deployment import open_context

    print_result(asdict(plan_window(open_context(settings), ds)), as_json, tables.show_plan)


@main.command()
@WINDOW
@click.option("--dry-run", is_flag=True, help="Print what `updater plan` prints, and change nothing.")
@command_options
@computes
def run(settings: Settings, as_json: bool, ds: date, dry_run: bool) -> None:
    """Run one daily window.

    A window computes the users whom a landed day changed, and brings them online. The steps are detect, encode,
    refresh, publish, materialize, commit. The first window builds the whole buffer.
    """
    if dry_run:
        show_window_plan(settings, as_json, ds)
        return
    from updater.pipeline.daily.window import run_window
    from updater.runtime.deployment import open_writable
    from updater.runtime.process_pool import ProcessPool

    context = open_writable(settings)
    with progress_bar(as_json) as progress, ProcessPool(settings, context.now) as pool:
        done = run_window(context, pool, ds, progress)
    print_result(done.to_json(), as_json, lambda value: tables.show_windows([value]))


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
@command_options
@computes
def backfill(settings: Settings, as_json: bool, from_date: date, to_date: date, dry_run: bool, restate: bool) -> None:
    """Run the missing windows of a range, oldest first.

    Resumable: run it again after a crash.
    """
    from updater.runtime.deployment import open_context, open_writable

    if to_date < from_date:
        raise click.BadParameter("lies before --from-date.", param_hint="--to-date")
    if dry_run:
        from updater.pipeline.daily.dry_run import plan_backfill

        plan = plan_backfill(open_context(settings), from_date, to_date, restate)
        print_result(asdict(plan), as_json, tables.show_backfill_plan)
        return
    context = open_writable(settings)
    from updater.pipeline.daily.backfill import backfill as run_backfill
    from updater.pipeline.restate.run import restate_range as run_restatement
    from updater.runtime.process_pool import ProcessPool

    with progress_bar(as_json) as progress, ProcessPool(settings, context.now) as pool:
        restated = run_restatement(context, pool, from_date, to_date, progress) if restate else None
        done = run_backfill(context, pool, from_date, to_date, progress, restated=restate)
    value = {"restated": restated, "windows": [one.to_json() for one in done]}
    print_result(value, as_json, tables.show_backfill)


@main.command()
@click.option(
    "--fail-on-alert",
    is_flag=True,
    help="Compare a sample of online values too; exit with 6 if a threshold of [alerts] is exceeded.",
)
@formerly("--check", "--fail-on-alert")
@command_options
def status(settings: Settings, as_json: bool, fail_on_alert: bool) -> None:
    """Show freshness, waiting days, drift, runs and sizes.

    Also shows unfinished windows, partitions that were rewritten after processing, and model versions.
    """
    from updater.pipeline.monitor.health import raise_on_alert
    from updater.pipeline.monitor.status import status as look
    from updater.runtime.deployment import open_context

    found = look(open_context(settings), fail_on_alert)
    print_result(asdict(found), as_json, tables.show_status)
    if fail_on_alert and found.health is not None:
        raise_on_alert(found.health)


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
@click.option("--verbose", is_flag=True, help=VERBOSE)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def demo(
    ctx: click.Context, config: str | None, verbose: bool, debug: bool, days: int, first_day: date, airflow: bool
) -> None:
    """Run everything once on public data.

    Lands the Complete Journey data, trains a small model, builds the state, runs daily windows, verifies them, and
    reads features back.
    """
    from updater.demo import story

    log(verbose)
    try:
        with progress_bar(as_json=False) as progress:
            story.run_demo(load_settings(config or story.config_file()), first_day, days, airflow, progress)
    except UpdaterError as error:
        stop(error, error.exit_code, debug)


main.place("Build", new, init, demo, completion)
main.place("Run", plan, run, backfill)
main.place("Inspect", status, report, uqabench)
for group in (model, user, profile, state):
    main.add_command(group)

if __name__ == "__main__":
    main()
