"""The command that trains a language model to keep users' texts."""

from dataclasses import asdict
from typing import Any

import click

from updater import tables
from updater.commands.common.command import command_options, computes, print_result, progress_lines
from updater.settings import Settings


@click.command("train")
@click.option(
    "--max-cpu-seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Stop with a checkpoint once training has used so many CPU seconds; run again to go on.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be trained on and about what it costs; change nothing.")
@command_options
@computes
def train_texts(settings: Settings, as_json: bool, max_cpu_seconds: float | None, dry_run: bool) -> None:
    """Train a language model that updates textual profiles.

    First on texts that are generated, validated and merged from the lake's past, then by rewards for what its own
    texts predict. Resumable: run it again after a crash. The model is a directory.
    """
    from updater.pipeline.init import create_ledger
    from updater.runtime.deployment import open_context, open_writable

    with progress_lines(as_json) as progress:
        if dry_run:
            from updater.training.profile.cost import plan_training

            print_result(asdict(plan_training(open_context(settings), progress)), as_json, show_training_plan)
            return
        from updater.training.profile.run import train_updater

        create_ledger(settings)
        report = train_updater(open_writable(settings), max_cpu_seconds, progress)
    print_result(asdict(report), as_json, show_updater_training)


def show_training_plan(plan: dict[str, Any]) -> None:
    """The result of `updater profile train --dry-run`."""
    tables.echo(
        f"model    {plan['model']}",
        f"trained  on {' to '.join(plan['trained_days'])}, examined on {' to '.join(plan['examined_days'])}",
    )
    if plan["days_to_land"]:
        tables.echo(f"first    {plan['days_to_land']:,} days of modalities have to be landed; the rest is known then")
        return
    tables.echo(
        f"texts    {plan['texts']:,} of {plan['chains']:,} chains of two updates, "
        f"prompts of {plan['median_prompt_tokens']:,} tokens (median)",
        f"steps    {plan['steps'][0]:,} supervised, {plan['steps'][1]:,} by rewards",
        f"cost     about {plan['cpu_seconds']:,} CPU seconds on this machine",
    )


def show_updater_training(report: dict[str, Any]) -> None:
    """The result of `updater profile train`: what was learned from, and what was seen of held-out users."""
    tables.echo(
        f"model  {report['model']}" if report["finished"] else "stopped with a checkpoint; run it again to go on",
        f"texts  {report['texts']:,} of {report['chains']:,} chains of two updates",
    )
    for phase, steps in report["steps"].items():
        first, last = report["losses"][phase]
        tables.echo(f"{phase}: {steps:,} steps, loss {first:.3f} in the first and {last:.3f} in the last")
    if rewards := report["rewards"]:
        tables.echo(f"rewards of drawn replies: {rewards[0]:.3f} in the first step and {rewards[-1]:.3f} in the last")
    columns = ["", "replies", "readable", "accepted", "reward", "choices right"]
    rows = [
        [name, one["updates"], *(_number(one[key]) for key in ("readable", "accepted", "reward", "right"))]
        for name, one in report["seen"].items()
    ]
    rows.append(["texts by rules", "", "", "", "", _number(report["rules_right"])])
    tables.table("Held-out users on later days, likeliest replies (half of the choices are chance)", columns, rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
