"""Commands about model versions."""

from dataclasses import asdict
from datetime import date
from typing import Any

import click

from updater import tables
from updater.commands.command import DAY, command_options, print_result, progress_bar
from updater.errors import ConfigError
from updater.settings import Settings


def check_first_model(settings: Settings, directory: str) -> None:
    """Raise ConfigError if a state has another model than the one in `directory` already: `init` would keep that."""
    from updater.model.checkpoint import model_digest
    from updater.pipeline.init import create_ledger

    live = create_ledger(settings).live_model()
    if live is not None and live.digest != model_digest(directory):
        raise ConfigError(
            f"This state has the model {live.name}, which `updater init` keeps; "
            f"run `updater promote --model {directory}` to make the other one live."
        )


@click.command()
@click.option("--version", type=click.IntRange(min=1), help="Number of a model version; `updater status` lists them.")
@click.option("--model", "directory", metavar="DIR", help="Directory of a model that is to become a version first.")
@click.option(
    "--from-date",
    type=DAY,
    help="First landing day of which the version gets all rows, YYYY-MM-DD, inclusive; default: the first there is.",
)
@click.option("--dry-run", is_flag=True, help="Print how many values would be computed, and change nothing.")
@command_options
def promote(
    settings: Settings,
    as_json: bool,
    version: int | None,
    directory: str | None,
    from_date: date | None,
    dry_run: bool,
) -> None:
    """Make a model version live, after computing, loading and verifying the values it would have if it had always been.

    Resumable: run it again after a crash. Promoting an older version is how to go back to it.
    """
    from updater.pipeline.versions.promote import plan_promotion, resolve_model
    from updater.pipeline.versions.promote import promote as make_live
    from updater.runtime.deployment import open_context
    from updater.runtime.process_pool import ProcessPool

    if (version is None) == (directory is None):
        raise click.UsageError("Name the model: give either --version or --model.")
    context = open_context(settings)
    model = resolve_model(context, version, directory, dry_run)
    if dry_run:
        print_result(asdict(plan_promotion(context, model, from_date)), as_json, show_promotion)
        return
    with progress_bar(as_json) as progress, ProcessPool(settings, context.now) as pool:
        report = make_live(context, pool, model, from_date, progress)
    print_result(asdict(report), as_json, show_promotion)


@click.command()
@click.option("--version", type=click.IntRange(min=1), required=True, help="Number of a version that is not live.")
@command_options
def prune(settings: Settings, as_json: bool, version: int) -> None:
    """Remove a model version that nobody reads any more: feature views, online and offline rows, weights."""
    from updater.pipeline.versions.registry import prune_version
    from updater.runtime.deployment import open_context

    print_result(asdict(prune_version(open_context(settings), version)), as_json, show_pruning)


@click.command()
@click.option("--user-id", required=True, help="The user's id in the lake.")
@click.option("--query", help="Any question.")
@click.option("--scenario", help="A scenario of the config: its query, after its soft prompt if it has one.")
@command_options
def embed(settings: Settings, as_json: bool, user_id: str, query: str | None, scenario: str | None) -> None:
    """Print a user's embedding for one question, by the live model, as of the newest committed window."""
    from updater.pipeline.query import embed_user
    from updater.runtime.deployment import open_context

    print_result(asdict(embed_user(open_context(settings), user_id, query, scenario)), as_json, show_embedding)


def show_promotion(report: dict[str, Any]) -> None:
    """The result of `updater promote`."""
    if report["already_live"]:
        tables.echo(f"{report['model']} is live; nothing changed.")
        return
    values = f"{report['rows']:,} values ({report['prefixes']:,} prefixes) of {report['windows']:,} windows"
    if report["dry_run"]:
        tables.echo(f"{report['model']} lacks {values}; {report['former']} is live. Nothing was changed.")
        return
    checked = f"loaded {report['online_rows']:,} online rows, verified {report['verified_users']:,} users"
    tables.echo(f"{report['model']} is live, after {report['former']}.", f"Computed {values}, {checked}.")


def show_pruning(report: dict[str, Any]) -> None:
    """The result of `updater prune`."""
    if report["already_done"]:
        tables.echo(f"{report['model']} was already removed; nothing changed.")
        return
    tables.echo(
        f"Removed {report['model']}: {report['offline_files']:,} offline files, "
        f"feature views {', '.join(report['feature_views']) or 'none'}."
    )


def show_embedding(report: dict[str, Any]) -> None:
    """The result of `updater embed`."""
    tables.echo(
        f"as of   {report['as_of']}",
        f"model   {report['model']}" + ("" if report["trained"] else "  (untrained)"),
        f"query   {report['query']}",
        f"[{', '.join(f'{value:.4f}' for value in report['embedding'])}]",
    )
