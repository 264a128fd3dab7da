"""The command that writes a new deployment."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from updater import tables
from updater.commands.common.command import stop
from updater.errors import UpdaterError


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--sample-data", is_flag=True, help="Land a small made-up lake that fits the config as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value for machines instead of text.")
def new(directory: Path, sample_data: bool, as_json: bool) -> None:
    """Write a new deployment into DIR.

    Config, feature repository, DAGs, and a page with the next commands. Nothing is overwritten. The name of DIR becomes
    the first part of the DAGs' ids.
    """
    from updater.scaffold import new_deployment

    try:
        report = new_deployment(directory, datetime.now(UTC).date(), sample_data)
    except UpdaterError as error:
        stop(error, error.exit_code, debug=False)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    tables.echo(f"Wrote {', '.join(report.files)} into {report.directory}.")
    if report.sample_days:
        tables.echo(f"Landed a made-up lake up to {report.sample_days[1]}.")
    tables.echo(f"Next: cd {report.directory}, then the commands of its README.md.")
