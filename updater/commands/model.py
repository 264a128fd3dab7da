"""Commands about models: make one, compare it, make it live."""

from dataclasses import asdict
from datetime import date
from typing import Any

import click

from updater import tables
from updater.commands.common.command import DAY, command_options, computes, print_result, progress_bar
from updater.commands.common.groups import CommandGroup
from updater.commands.evaluation import evaluate
from updater.commands.fidelity import fidelity
from updater.commands.training import train, tune
from updater.errors import ConfigError
from updater.settings import Settings


@click.group(cls=CommandGroup)
def model() -> None:
    """Make models, compare them, and choose the live one."""


def check_first_model(settings: Settings, directory: str) -> None:
    """Raise ConfigError if a state has another model than the one in `directory` already: `init` would keep that."""
    from updater.model.checkpoint import model_digest
    from updater.pipeline.init import create_ledger

    live = create_ledger(settings).live_model()
    if live is not None and live.digest != model_digest(directory):
        raise ConfigError(
            f"This state has the model {live.name}, which `updater init` keeps; "
            f"run `updater model promote --model {directory}` to make the other one live."
        )


@model.command("list")
@command_options
def list_models(settings: Settings, as_json: bool) -> None:
    """List the model versions of the state."""
    from updater.pipeline.monitor.status import list_versions
    from updater.runtime.deployment import open_context

    print_result(list_versions(open_context(settings)), as_json, show_versions)


@model.command()
@click.option("--version", type=click.IntRange(min=1), help="Number of a version; `updater model list` has them.")
@click.option("--model", "directory", metavar="DIR", help="Directory of a model that is to become a version first.")
@click.option(
    "--from-date",
    type=DAY,
    help="First landing day from which the version gets all rows, YYYY-MM-DD; default: the first there is.",
)
@click.option("--dry-run", is_flag=True, help="Print how many values would be computed, and change nothing.")
@command_options
@computes
def promote(
    settings: Settings,
    as_json: bool,
    version: int | None,
    directory: str | None,
    from_date: date | None,
    dry_run: bool,
) -> None:
    """Make a model version live, with the values of its past.

    First computes, loads and verifies the values that it would have if it had always been live. To go back, promote
    an older version. Resumable: run it again after a crash.
    """
    from updater.pipeline.versions.promote import expected_model, plan_promotion, resolve_model
    from updater.pipeline.versions.promote import promote as make_live
    from updater.runtime.deployment import open_context, open_writable
    from updater.runtime.process_pool import ProcessPool

    if (version is None) == (directory is None):
        raise click.UsageError("Name the model: give either --version or --model.")
    if dry_run:
        looking = open_context(settings)
        expected = expected_model(looking, version, directory)
        print_result(asdict(plan_promotion(looking, expected, from_date)), as_json, show_promotion)
        return
    context = open_writable(settings)
    chosen = resolve_model(context, version, directory)
    with progress_bar(as_json) as progress, ProcessPool(settings, context.now) as pool:
        report = make_live(context, pool, chosen, from_date, progress)
    print_result(asdict(report), as_json, show_promotion)


@model.command()
@click.option("--version", type=click.IntRange(min=1), required=True, help="Number of a version that is not live.")
@command_options
def delete(settings: Settings, as_json: bool, version: int) -> None:
    """Delete a model version that nobody reads any more.

    Removes its feature views, its online and offline rows, and its weights.
    """
    from updater.pipeline.versions.registry import prune_version
    from updater.runtime.deployment import open_writable

    print_result(asdict(prune_version(open_writable(settings), version)), as_json, show_deletion)


model.place("Build", train, tune, evaluate, fidelity, promote)
model.place("Inspect", list_models)
model.place("Maintain", delete)


def show_versions(versions: list[dict[str, Any]]) -> None:
    """The result of `updater model list`."""
    rows = [[each["version"], each["model"], tables.version_state(each), _yes(each["trained"])] for each in versions]
    tables.table("Model versions", ["version", "model", "state", "trained"], rows)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def show_promotion(report: dict[str, Any]) -> None:
    """The result of `updater model promote`."""
    if report["already_live"]:
        tables.echo(f"{report['model']} is live; nothing changed.")
        return
    values = f"{report['rows']:,} values ({report['prefixes']:,} prefixes) of {report['windows']:,} windows"
    if report["dry_run"]:
        tables.echo(f"{report['model']} is missing {values}; {report['former']} is live. Nothing was changed.")
        return
    checked = f"loaded {report['online_rows']:,} online rows, verified {report['verified_users']:,} users"
    tables.echo(f"{report['model']} is live, after {report['former']}.", f"Computed {values}, {checked}.")


def show_deletion(report: dict[str, Any]) -> None:
    """The result of `updater model delete`."""
    if report["already_done"]:
        tables.echo(f"{report['model']} was already removed; nothing changed.")
        return
    tables.echo(
        f"Removed {report['model']}: {report['offline_files']:,} offline files, "
        f"feature views {', '.join(report['feature_views']) or 'none'}."
    )
