"""Commands about the state as a whole."""

from dataclasses import asdict
from typing import Any

import click

from updater import tables
from updater.commands.common.command import command_options, computes, print_result, progress_bar
from updater.commands.common.former import formerly
from updater.commands.common.groups import CommandGroup
from updater.settings import Settings

ALERT = "Afterwards exit with 6 if a threshold of [alerts] is exceeded."


@click.group(cls=CommandGroup)
def state() -> None:
    """Verify, watch and compact the state."""


@state.command()
@click.option("--sample", type=click.IntRange(min=1), default=100, show_default=True, help="Number of users to check.")
@click.option("--all", "everyone", is_flag=True, help="Check every user, from the lake.")
@click.option("--exact", is_flag=True, help="Allow embeddings no difference at all, instead of 1e-5.")
@click.option("--fail-on-alert", is_flag=True, help=ALERT)
@formerly("--audit", "--exact")
@formerly("--check", "--fail-on-alert")
@command_options
@computes
def verify(settings: Settings, as_json: bool, sample: int, everyone: bool, exact: bool, fail_on_alert: bool) -> None:
    """Compare state and online store with a rebuild.

    Compares what is stored with what a full rebuild makes of the lake, and the online store with the offline rows. A
    difference ends with exit code 6.
    """
    from updater.pipeline.monitor.health import measure, raise_on_alert
    from updater.pipeline.monitor.verify import TOLERANCE
    from updater.pipeline.monitor.verify import verify as compare
    from updater.pipeline.monitor.verify_compare import raise_if_different
    from updater.runtime.deployment import open_context

    context = open_context(settings)
    with progress_bar(as_json) as progress:
        report = compare(context, None if everyone else sample, progress, tolerance=0.0 if exact else TOLERANCE)
    print_result(asdict(report), as_json, tables.show_verification)
    raise_if_different(report)
    if fail_on_alert:
        raise_on_alert(measure(context, online=False))


@state.command()
@click.option(
    "--output", metavar="FILE", help="Write them to FILE, atomically, as for node exporter's textfile collector."
)
@command_options
def metrics(settings: Settings, as_json: bool, output: str | None) -> None:
    """Print metrics in Prometheus's text format.

    They cover freshness, changes, drift, sizes (files and bytes) and alerts.
    """
    from updater.pipeline.monitor.prometheus import metrics_text, write_metrics
    from updater.runtime.deployment import open_context

    context = open_context(settings)
    if output is None:
        text = metrics_text(context)
        print_result({"metrics": text}, as_json, lambda value: click.echo(value["metrics"], nl=False))
        return
    write_metrics(context, output)
    print_result({"file": output}, as_json, lambda value: tables.echo(f"Wrote {value['file']}."))


@state.command()
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="Number of rows, newest first.")
@command_options
def audit(settings: Settings, as_json: bool, last: int) -> None:
    """Show who changed what, and when.

    Instants are in UTC.
    """
    from updater.ledger import open_reader

    rows = [asdict(row) for row in open_reader(settings.ledger.url).audit(last)]
    print_result(rows, as_json, tables.show_audit)


@state.command()
@click.option("--dry-run", is_flag=True, help="Print what would be merged and removed, and change nothing.")
@command_options
def compact(settings: Settings, as_json: bool, dry_run: bool) -> None:
    """Merge small files; remove what [retention] lets go.

    Windows may run at the same time. Resumable: run it again after a crash.
    """
    from updater.pipeline.compact.run import maintain as keep_small
    from updater.pipeline.compact.run import plan_maintenance
    from updater.runtime.deployment import open_context, open_writable

    with progress_bar(as_json) as progress:
        plan = plan_maintenance(open_context(settings)) if dry_run else None
        report = plan or keep_small(open_writable(settings), progress)
    print_result(asdict(report), as_json, show_compaction)


state.place("Inspect", verify, metrics, audit)
state.place("Maintain", compact)


def show_compaction(report: dict[str, Any]) -> None:
    """The result of `updater state compact`, one line per part of the state."""
    columns = ["part", "merged", "into", "dropped", "waiting", "removed", "bytes"]
    names = ("merged", "made", "dropped", "waiting", "removed", "bytes_removed")
    rows = [[name, *(part[field] for field in names)] for name, part in report["parts"].items()]
    tables.table(f"Files at {report['ds']}{': what would be done' if report['dry_run'] else ''}", columns, rows)
    if report["earliest_recomputable"]:
        tables.echo(f"Windows before {report['earliest_recomputable']} cannot be computed again.")
