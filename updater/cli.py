"""The command line: parses, calls the pipeline, prints."""

from dataclasses import asdict
from datetime import date
from typing import BinaryIO

import click

from updater import __version__, tables
from updater.commands.command import DAY, VERBOSE, command_options, log, print_result, progress_bar, stop
from updater.commands.evaluation import evaluate
from updater.commands.ids import read_ids
from updater.commands.maintenance import maintain
from updater.commands.models import check_first_model, embed, promote, prune
from updater.commands.scaffold import new
from updater.commands.terminal import Commands
from updater.commands.training import train, tune
from updater.errors import UpdaterError
from updater.settings import Settings, load_settings


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__)
def main() -> None:
    """Daily-fresh, scenario-adaptive user embeddings in your own feature store.

    Exit codes: 0 done; 2 usage or config; 3 data not landed; 4 data refused; 5 gap or out of order; 6 verification
    failed or an alert; 7 another command got in the way; 8 other work is unfinished; 9 no window yet; 10 not found;
    11 a server does not answer; 1 anything else. After 7, 8 and 11 the same command again may succeed.
    """


@main.command()
@click.option("--model", metavar="DIR", help="Trained model that a new state begins with; default: untrained weights.")
@command_options
def init(settings: Settings, as_json: bool, model: str | None) -> None:
    """Create the ledger and the state, and apply the feature repository.

    Safe to repeat, as after adding a scenario.
    """
    from updater.pipeline.init import initialize

    if model is not None:
        check_first_model(settings, model)
    print_result(asdict(initialize(settings, model)), as_json, tables.show_setup)


@main.command()
@click.option("--ds", type=DAY, required=True, help="Landing day of the window, YYYY-MM-DD in the config's timezone.")
@click.option(
    "--dry-run", is_flag=True, help="Print the plan (who, which modality, why, at what cost) and change nothing."
)
@command_options
def run(settings: Settings, as_json: bool, ds: date, dry_run: bool) -> None:
    """Run one daily window: detect, encode, refresh, publish, materialize, commit.

    The first one builds the whole buffer.
    """
    from updater.runtime.deployment import open_context

    context = open_context(settings)
    if dry_run:
        from updater.pipeline.daily.dry_run import plan_window

        print_result(asdict(plan_window(context, ds)), as_json, tables.show_plan)
        return
    from updater.pipeline.daily.window import run_window
    from updater.runtime.process_pool import ProcessPool

    with progress_bar(as_json) as progress, ProcessPool(settings, context.now) as pool:
        report = run_window(context, pool, ds, progress)
    print_result(report.to_json(), as_json, lambda value: tables.show_windows([value]))


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
def backfill(settings: Settings, as_json: bool, from_date: date, to_date: date, dry_run: bool, restate: bool) -> None:
    """Run the missing windows of a range, oldest first. Resumable: run it again after a crash."""
    from updater.runtime.deployment import open_context

    if to_date < from_date:
        raise click.BadParameter("lies before --from-date.", param_hint="--to-date")
    context = open_context(settings)
    if dry_run:
        from updater.pipeline.daily.dry_run import plan_backfill

        print_result(asdict(plan_backfill(context, from_date, to_date, restate)), as_json, tables.show_backfill_plan)
        return
    from updater.pipeline.daily.backfill import backfill as run_backfill
    from updater.pipeline.restate.run import restate_range as run_restatement
    from updater.runtime.process_pool import ProcessPool

    with progress_bar(as_json) as progress, ProcessPool(settings, context.now) as pool:
        restated = run_restatement(context, pool, from_date, to_date, progress) if restate else None
        reports = run_backfill(context, pool, from_date, to_date, progress)
    value = {"restated": restated, "windows": [report.to_json() for report in reports]}
    print_result(value, as_json, tables.show_backfill)


@main.command()
@click.option(
    "--check",
    is_flag=True,
    help="Compare a sample of online values too; exit with 6 if a threshold of [alerts] is exceeded.",
)
@command_options
def status(settings: Settings, as_json: bool, check: bool) -> None:
    """Show watermark, waiting days, rewritten partitions, freshness, drift, last runs and sizes (files and bytes)."""
    from updater.pipeline.monitor.health import raise_on_alert
    from updater.pipeline.monitor.status import status as look
    from updater.runtime.deployment import open_context

    report = look(open_context(settings), check)
    print_result(asdict(report), as_json, tables.show_status)
    if check and report.health is not None:
        raise_on_alert(report.health)


@main.command()
@click.option(
    "--output", metavar="FILE", help="Write them to FILE, atomically, as for node exporter's textfile collector."
)
@command_options
def metrics(settings: Settings, as_json: bool, output: str | None) -> None:
    """Print freshness, changes, drift, sizes (files and bytes) and alerts in Prometheus's text format."""
    from updater.pipeline.monitor.prometheus import metrics_text, write_metrics
    from updater.runtime.deployment import open_context

    context = open_context(settings)
    if output is None:
        text = metrics_text(context)
        print_result({"metrics": text}, as_json, lambda value: click.echo(value["metrics"], nl=False))
        return
    write_metrics(context, output)
    print_result({"file": output}, as_json, lambda value: tables.echo(f"Wrote {value['file']}."))


@main.command()
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="Number of rows, newest first.")
@command_options
def audit(settings: Settings, as_json: bool, last: int) -> None:
    """Show who changed what, and when."""
    from updater.ledger import open_reader

    rows = [asdict(row) for row in open_reader(settings.ledger.url).audit(last)]
    print_result(rows, as_json, tables.show_audit)


@main.command()
@click.option("--user-id", required=True, help="The user's id in the lake.")
@command_options
def pseudonym(settings: Settings, as_json: bool, user_id: str) -> None:
    """Print the pseudonym by which the state and Feast know a user."""
    from updater.pipeline.pseudonym import pseudonym_of
    from updater.runtime.deployment import open_context

    value = {"pseudonym": pseudonym_of(open_context(settings), user_id)}
    print_result(value, as_json, lambda found: tables.echo(found["pseudonym"]))


@main.command()
@click.option("--sample", type=click.IntRange(min=1), default=100, show_default=True, help="Number of users to check.")
@click.option("--all", "everyone", is_flag=True, help="Check every user.")
@click.option("--audit", "exactly", is_flag=True, help="Allow embeddings no difference at all, instead of 1e-5.")
@click.option("--check", is_flag=True, help="Then exit with 6 if a threshold of [alerts] is exceeded.")
@command_options
def verify(settings: Settings, as_json: bool, sample: int, everyone: bool, exactly: bool, check: bool) -> None:
    """Compare the state with a full rebuild from the lake, and the online store with the offline rows."""
    from updater.pipeline.monitor.health import measure, raise_on_alert
    from updater.pipeline.monitor.verify import TOLERANCE
    from updater.pipeline.monitor.verify import verify as compare
    from updater.pipeline.monitor.verify_compare import raise_if_different
    from updater.runtime.deployment import open_context

    context = open_context(settings)
    with progress_bar(as_json) as progress:
        report = compare(context, None if everyone else sample, progress, tolerance=0.0 if exactly else TOLERANCE)
    print_result(asdict(report), as_json, tables.show_verification)
    raise_if_different(report)
    if check:
        raise_on_alert(measure(context, online=False))


@main.command()
@click.option("--user-id", "user_ids", multiple=True, metavar="U", help="Id of a user, as the lake has it; repeatable.")
@click.option("--from-file", type=click.File("rb"), help="File with one id per line; - is standard input.")
@click.option("--prove", is_flag=True, help="Change nothing; search everywhere for these users and say where they are.")
@command_options
def erase(
    settings: Settings, as_json: bool, user_ids: tuple[str, ...], from_file: BinaryIO | None, prove: bool
) -> None:
    """Remove users from everything but the lake, permanently: files are written anew, and late rows are dropped."""
    from updater.pipeline.erase.proof import find, raise_if_found
    from updater.pipeline.erase.run import erase as remove
    from updater.runtime.deployment import open_context

    users = [*user_ids, *(read_ids(from_file) if from_file else [])]
    context = open_context(settings)
    with progress_bar(as_json) as progress:
        if not prove:
            print_result(asdict(remove(context, users, progress)), as_json, tables.show_erasure)
            return
        proof = find(context, users, progress)
    print_result(asdict(proof), as_json, tables.show_erasure_proof)
    raise_if_found(proof)


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
    """Tell the whole story on the public Complete Journey data.

    It lands the data, builds the state, runs daily windows, verifies them, and reads features back.
    """
    from updater import demo as story

    log(verbose)
    try:
        with progress_bar(as_json=False) as progress:
            story.run_demo(load_settings(config or story.config_file()), first_day, days, airflow, progress)
    except UpdaterError as error:
        stop(error, error.exit_code, debug)


for command in (new, maintain, promote, prune, embed, train, tune, evaluate):
    main.add_command(command)

if __name__ == "__main__":
    main()
