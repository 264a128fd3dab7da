"""The command that keeps the state small."""

from dataclasses import asdict
from typing import Any

import click

from updater import tables
from updater.commands.command import command_options, print_result, progress_bar
from updater.settings import Settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be merged and removed, and change nothing.")
@command_options
def maintain(settings: Settings, as_json: bool, dry_run: bool) -> None:
    """Merge what lies in many files and remove what nobody needs any more; see [retention].

    Windows may run at the same time. Resumable: run it again after a crash.
    """
    from updater.pipeline.compact.run import maintain as keep_small
    from updater.runtime.deployment import open_context

    with progress_bar(as_json) as progress:
        report = keep_small(open_context(settings), progress, dry_run)
    print_result(asdict(report), as_json, show_maintenance)


def show_maintenance(report: dict[str, Any]) -> None:
    """The result of `updater maintain`, one line per part of the state."""
    columns = ["part", "merged", "into", "dropped", "waiting", "removed", "bytes"]
    names = ("merged", "made", "dropped", "waiting", "removed", "bytes_removed")
    rows = [[name, *(part[field] for field in names)] for name, part in report["parts"].items()]
    tables.table(f"Files at {report['ds']}{': what would be done' if report['dry_run'] else ''}", columns, rows)
    if report["earliest_recomputable"]:
        tables.echo(f"Windows before {report['earliest_recomputable']} cannot be computed again.")
