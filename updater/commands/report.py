"""The command that makes the page about a deployment."""

from dataclasses import asdict

import click

from updater import tables
from updater.api import Deployment
from updater.commands.common.command import command_options, print_result
from updater.settings import Settings


@click.command()
@click.option("--html", "file", metavar="FILE", help="Write the page to FILE, atomically; a path or an fsspec URL.")
@click.option("--last", type=click.IntRange(min=1), default=14, show_default=True, help="Number of windows to show.")
@click.option("--plan/--no-plan", default=True, show_default=True, help="Plan the next day if it has landed.")
@click.option("--online", is_flag=True, help="Compare a sample of online values as well.")
@command_options
def report(settings: Settings, as_json: bool, file: str | None, last: int, plan: bool, online: bool) -> None:
    """Make a page about freshness, windows, drift and alerts.

    One HTML file (--html) that needs no network, with rejected rows, model versions and the next day's cost as well.
    Changes nothing in the state.
    """
    if file is None and not as_json:
        raise click.UsageError("Name the page's file with --html FILE, or ask for --json.")
    facts = Deployment(settings).report(file, last, plan=plan, online=online)
    print_result(asdict(facts), as_json, lambda _: tables.echo(f"Wrote {file}."))
