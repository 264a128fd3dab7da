"""The command that has a language model keep users' texts."""

from dataclasses import asdict
from datetime import date
from typing import Any

import click

from updater import tables
from updater.commands.common.command import DAY, command_options, computes, print_result, progress_bar
from updater.settings import Settings


@click.command("update")
@click.option("--ds", type=DAY, help="Landing day of a committed window, YYYY-MM-DD; default: the newest one.")
@command_options
@computes
def update_texts(settings: Settings, as_json: bool, ds: date | None) -> None:
    """Have a language model update the texts of a day's users.

    By the model of [profile.language_model], after the day's window. Texts that the log does not bear out are counted
    and left out. Embeddings and the texts by rules are not touched. Resumable: run it again after a crash.
    """
    from updater.pipeline.profile_llm.run import update_profiles
    from updater.runtime.deployment import open_writable

    with progress_bar(as_json) as progress:
        report = update_profiles(open_writable(settings), ds, progress=progress)
    print_result(asdict(report), as_json, show_update)


def show_update(report: dict[str, Any]) -> None:
    """The result of `updater profile update`."""
    if report["overtaken_by"]:
        tables.echo(
            f"{report['ds']}: nothing done; {report['overtaken_by']} has texts already, and each follows from the one "
            "before."
        )
        return
    left_out = f", {report['left_out']:,} beyond max_users" if report["left_out"] else ""
    tables.echo(
        f"updater   {report['updater']}",
        f"users     {report['users']:,} changed on {report['ds']}{left_out}",
        f"requests  {report['asked']:,} replied to, {report['kept']:,} kept from before, {report['failed']:,} failed",
        f"texts     {report['accepted']:,} accepted, {report['already_done']:,} there before, "
        f"{report['withdrawn']:,} withdrawn",
    )
    if report["rejected"]:
        tables.table(
            "Rejected replies; these users keep the text before", ["reason", "replies"], report["rejected"].items()
        )
